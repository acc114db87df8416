"""Asserts in this room's modules explain themselves as those of its tests do."""

from __future__ import annotations

import pytest

from tests.engine.broken_broker import FIRST, World

pytest.register_assert_rewrite("tests.engine.crash_scenarios")


@pytest.fixture
def world() -> World:
    """One strategy runs, on a broker whose topics a test may delete."""
    made = World()
    made.process.submit([FIRST])
    return made
