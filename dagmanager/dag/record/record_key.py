"""What the key of a raw record names."""

from __future__ import annotations

from dagmanager.dag.limits import TEXT_BYTES_MAX
from dagmanager.dag.model import Record


def strategy_of(record: Record) -> str:
    """The strategy id in the record's key, without `ingest:`; used when the record itself cannot be read.

    `""` without a key, and for one that is longer than a strategy id may be. Never raises: invalid UTF-8 is replaced.
    """
    named = (record.key or b"").removeprefix(b"ingest:")
    return named.decode("utf-8", "replace") if len(named) <= TEXT_BYTES_MAX else ""
