"""Which strategy ids have moved on: counters that say since when a remembered answer may be wrong.

An identical resend is a question only while its strategy id holds what it sent (docs/semantics.md 2). Whoever
writes a holder that was there before counts that, in the transaction of the change, in one of a few
counters: a process that remembers answers reads them all with the epoch.
"""

from __future__ import annotations

from typing import Final

from blake3 import blake3

from dagmanager.engine.model.graph_port import Locks, Transaction
from dagmanager.engine.model.rows import CounterRow, HolderKey

SLOTS: Final = 16
# Before `weights:…`, which the same transaction may lock later.
COUNTERS: Final = tuple(f"moves:{slot:02}" for slot in range(SLOTS))


def counter_of(holder: HolderKey) -> str:
    """The counter that this holder's moves are counted in, with those of others."""
    return COUNTERS[blake3("\x1f".join(holder).encode("utf-8", "surrogatepass")).digest(1)[0] % SLOTS]


def count_holder_change(tx: Transaction, holder: HolderKey) -> None:
    """This holder is about to be written although it was there, or to be removed."""
    name = counter_of(holder)
    tx.lock(Locks(counters=(name,)))
    tx.put([CounterRow(name, tx.counters([name])[name] + 1)])
