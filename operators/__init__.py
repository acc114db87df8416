"""The engine's steps as stream operators, a few lines each; no decisions of their own."""
