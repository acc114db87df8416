"""Gives every room the real servers' fixtures: `kafka`, `topic_prefix`, `neo4j`, `empty_neo4j`. See docs/contributing/servers.md.

Hypothesis has no deadline here: how long an example takes says something about the machine, not about us.
"""

from hypothesis import settings

pytest_plugins = ["servers.fixtures"]

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
