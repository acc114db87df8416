"""A recovery folder of the former release → one of this release, at start and without a hand.

The former release kept, per strategy id, the digest of the last record, in the step `remember`. It informed no decision,
and left a row per strategy id for ever, so that starts became slow. Its rows are deleted; how far the input was read
and what the sinks wrote stays. The caller rewrites `flow.json` afterwards: a kill in between repeats the deletion, which
is idempotent.
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
    """Delete what the removed step left in every partition; one transaction each. Raises `sqlite3.Error`."""
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
