"""The engine's steps as stream operators, a few lines each. No decisions of their own."""
