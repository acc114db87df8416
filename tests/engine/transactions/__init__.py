"""Tests of the claim and the activation over the memory graph."""
