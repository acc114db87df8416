"""The entry point for people. No decisions, and nothing heavy is imported before a command is chosen."""
