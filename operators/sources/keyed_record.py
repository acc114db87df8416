"""What every source emits: the strategy id that the record's key names, which the exchange is keyed by, and the record."""

from __future__ import annotations

from dagmanager.dag.model import Record

KeyedRecord = tuple[str, Record]
