"""The last 16 submissions of a strategy id, each with the record that replaced it.

They tell a replayed resend from a new command. An identical resend changes nothing and leaves no row
(docs/semantics.md 2). When it is read again after a crash, its strategy id may hold another submission by then, and the
resend would look like a command to go back. Only record order tells the two apart: a replayed resend is older than
the record that replaced what it repeats.
"""

from __future__ import annotations

from typing import Final

from dagmanager.engine.model.version_rows import HolderRow, PastSubmission

# A replay covers what was read since the last snapshot, seconds as a rule: 16 changes of one strategy id are plenty.
HISTORY_MAX: Final = 16


def was_replaced(holder: HolderRow, submission_digest: str, at_ms: int, position: int) -> bool:
    """Whether the strategy id sent this before, and the record at (`at_ms`, `position`) is older than its replacement.

    Then it is a replayed resend, and its command was carried out long ago. `at_ms` is the record's time, `position`
    its offset in the partition, which orders records of the same millisecond.
    """
    return any(
        past.submission_digest == submission_digest
        and (at_ms, position) < (past.until_ms, past.until_position)
        for past in holder.previous
    )


def next_history(
    holder: HolderRow | None, submission_digest: str, at_ms: int, position: int
) -> tuple[PastSubmission, ...]:
    """`HolderRow.previous` of the row that replaces `holder`; each digest once, newest last, at most `HISTORY_MAX`.

    The arguments describe the submission that replaces the holder's: its digest, record time and offset.
    """
    if holder is None:
        return ()
    if holder.submission_digest == submission_digest:
        return holder.previous
    replaced = PastSubmission(holder.submission_digest, at_ms, position)
    # Once each: a strategy that alternates between two submissions would push out all others.
    kept = [each for each in holder.previous if each.submission_digest != replaced.submission_digest]
    return (*kept, replaced)[-HISTORY_MAX:]
