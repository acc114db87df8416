"""Asserts in this room's modules explain themselves as those of its tests do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.engine.effects")
