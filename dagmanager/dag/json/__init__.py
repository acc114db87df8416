"""Exact JSON: repeated keys, big integers and positions are not lost. Knows no field of a submission."""
