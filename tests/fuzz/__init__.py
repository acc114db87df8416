"""Mutated real submissions: whatever comes in, what comes out is a value."""
