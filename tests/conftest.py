"""Gives every room the real servers' fixtures: `kafka`, `topic_prefix`, `neo4j`, `empty_neo4j`. See docs/servers.md."""

pytest_plugins = ["servers.fixtures"]
