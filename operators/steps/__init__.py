"""One operator per step of the flow. Each wraps an engine call; nothing is decided here."""
