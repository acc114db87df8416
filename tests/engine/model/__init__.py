"""Tests of outcomes and policy."""
