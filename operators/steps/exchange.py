"""Records under any key → records keyed by the shard of their strategy: the one exchange between workers.

Only raw bytes cross it, and it keeps no state. Bytewax writes a row into the recovery store for every key that a
stateful step ever saw, and never removes it, also when the key's state is discarded. Strategy ids are random in the
field, so keys are shards of them: the rows, and the time of a start that loads them, are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zlib import crc32

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dagmanager.dag.model import Record
from dagmanager.dag.record.record_key import strategy_of

# Many more than workers, so that each worker gets about as many; few enough for one row each at every start.
STRATEGY_SHARDS: Final = 64


def shard_of(strategy_id: str) -> str:
    """`00` to `3f`; the same in every process and release, because it keys state in the recovery store."""
    return f"{crc32(strategy_id.encode('utf-8', 'surrogatepass')) % STRATEGY_SHARDS:02x}"


class Stateless(StatefulBatchLogic[Record, Record, None]):
    """Passes everything on. It is a stateful step only because Bytewax exchanges items between workers before those."""

    def on_batch(self, values: list[Record]) -> tuple[Iterable[Record], bool]:
        """The values unchanged; no state is kept."""
        return values, StatefulBatchLogic.DISCARD

    def snapshot(self) -> None:
        """Nothing to resume."""


@operator
def exchange(step_id: str, up: KeyedStream[Record]) -> KeyedStream[Record]:
    """Send all records of a strategy to one worker, in order of arrival.

    Bytewax handles the keys of a batch in the order of their names; the step `arrival` restores the order of arrival, so
    that two strategies of one lineage are not swapped.
    """
    keyed = op.map("by_strategy", up, lambda item: (shard_of(strategy_of(item[1])), item[1]))
    exchanged = op.stateful_batch("stateful_batch", keyed, lambda _: Stateless())
    return op.flat_map_batch("arrival", exchanged, lambda batch: sorted(batch, key=_arrival))


def _arrival(item: tuple[str, Record]) -> tuple[str, str, int, int]:
    origin = item[1].origin
    return origin.source, origin.source_id, origin.partition, origin.position
