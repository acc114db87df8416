"""What changes in an SQLite file of an older model (`dagmanager.graph.model_version`). Nothing does so far: rows of
model 1 are read as they are."""

from __future__ import annotations

import sqlite3
from typing import Final

from dagmanager.graph.model_version import ModelStep

STEPS: Final[tuple[ModelStep[sqlite3.Connection], ...]] = ()
