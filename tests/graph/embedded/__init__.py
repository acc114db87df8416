"""Tests of the graphs in memory and in SQLite, beyond the contract suite."""
