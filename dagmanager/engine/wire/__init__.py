"""Outcomes and events as the bytes that clients read. Pure: no transaction, no clock, no thread, no log."""
