"""Tests of single operators on the memory stores; no whole flows."""
