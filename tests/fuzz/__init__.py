"""Mutated real submissions: any input gives a value, never an exception."""
