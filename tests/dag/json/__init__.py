"""Tests of exact JSON."""
