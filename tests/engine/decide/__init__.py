"""Tests of the pure decisions: tables of cases, permutations, naive twins."""
