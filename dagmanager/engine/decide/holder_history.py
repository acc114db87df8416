"""What a strategy id held before: so that a replayed resend stays a question after the holder moved on.

An identical resend writes nothing (docs/semantics.md 2), so nothing but record order tells its replay from a
new command: it came before the record by which the strategy id sent something else.
"""

from __future__ import annotations

from typing import Final

from dagmanager.engine.model.rows import HolderRow, PastSubmission

HISTORY_MAX: Final = 16


def was_replaced(holder: HolderRow, submission_digest: str, at_ms: int, position: int) -> bool:
    """Sent before this strategy id sent something else: its command was carried out then.

    `at_ms` is the record's time, `position` its place in its partition, which decides among equal times.
    """
    return any(
        held.submission_digest == submission_digest
        and (at_ms, position) < (held.until_ms, held.until_position)
        for held in holder.previous
    )


def next_history(
    holder: HolderRow | None, submission_digest: str, at_ms: int, position: int
) -> tuple[PastSubmission, ...]:
    """What the next holder row remembers of this one; the newest 16 digests, each once."""
    if holder is None:
        return ()
    if holder.submission_digest == submission_digest:
        return holder.previous
    gone = PastSubmission(holder.submission_digest, at_ms, position)
    kept = [each for each in holder.previous if each.submission_digest != gone.submission_digest]
    return (*kept, gone)[-HISTORY_MAX:]
