"""Exact JSON: duplicate keys, big integers and positions kept. Knows no field of a submission."""
