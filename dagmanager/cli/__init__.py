"""The door for people: one file per command; no decisions, and nothing heavy imported at start."""
