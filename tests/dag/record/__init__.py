"""Tests of record forms and compute contexts."""
