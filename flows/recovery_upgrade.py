"""Upgrades a recovery folder of the former release at the start, without a manual step.

The former release kept the digest of the last record per strategy id, in the step `remember`. No decision used it, and
its rows were never removed, so that starts became slow. Only these rows are deleted: the offsets of the input and the
state of the sinks stay, so that no record is read again. Only a folder with exactly the former steps is upgraded; one
with another step that this release does not have is refused.

The caller rewrites `flow.json` afterwards: a kill in between repeats the deletion, which is idempotent. There is no way
back: the former release refuses an upgraded folder.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

logger = logging.getLogger("dagmanager.flow")

FLOW: Final = "dagmanager_submissions"
REMOVED_STEP: Final = f"{FLOW}.remember.stateful.stateful_batch"
# The `stateful_steps` of the former release's `flow.json`, exactly.
FORMER_STEPS: Final = (
    f"{FLOW}.input",
    REMOVED_STEP,
    f"{FLOW}.diffs",
    f"{FLOW}.dead_letters",
    f"{FLOW}.queue_events",
)


def delete_removed_state(folder: Path) -> None:
    """Delete the rows of the removed step in every partition, in one transaction each. Idempotent. Raises `sqlite3.Error`.

    For the process that has the folder's lock. Blocks until the rows are deleted.
    """
    rows = 0
    for path in sorted(folder.glob("part-*.sqlite3")):
        with closing(sqlite3.connect(path)) as file, file:
            rows += file.execute("DELETE FROM snaps WHERE step_id = ?", (REMOVED_STEP,)).rowcount
    logger.info(
        "recovery folder %s: upgraded from the former release, %d rows of a removed step are deleted; "
        "the run resumes where the former release stopped",
        folder,
        rows,
    )
