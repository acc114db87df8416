"""Tests of the decisions and their shell, on the memory stores; no servers."""
