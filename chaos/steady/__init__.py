"""Steady traffic instead of kills: memory over time, and new versions under load. Prints; decides nothing."""
