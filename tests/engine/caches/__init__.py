"""Tests of what a process remembers, against processes that remember nothing."""
