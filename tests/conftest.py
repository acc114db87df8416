"""Gives every room the real servers' fixtures: `kafka`, `topic_prefix`, `neo4j`, `empty_neo4j`. See docs/contributing/servers.md.

Hypothesis has no deadline here: how long an example takes says something about the machine, not about us.
"""

import os

from hypothesis import settings

pytest_plugins = ["servers.fixtures"]

# pytest-xdist sets it in its workers; programs that tests start would wrap what they write to a pipe.
os.environ.pop("COLUMNS", None)

# The same examples in every run: a change must not fail over an input that has nothing to do with it.
settings.register_profile("untimed", deadline=None, derandomize=True)
settings.load_profile("untimed")

# GNU readline sets these in the workers of pytest-xdist. With COLUMNS set, errors are wrapped even into a pipe.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
