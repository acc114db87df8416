"""What changes in an SQLite file of an older model (`dagmanager.graph.model_version`). Rows of model 1 are read as those
of model 2."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from typing import Final

import msgspec

from dagmanager.engine.model.version_rows import LineageKey, LineageRow, SentinelRow
from dagmanager.graph.model_3 import holder_with_world, is_late, old_holder
from dagmanager.graph.model_3_asks import with_asks
from dagmanager.graph.model_version import ModelStep

_ROWS: Final = "SELECT key, value FROM graph_rows WHERE kind = ? AND value IS NOT NULL"
_SENTINEL: Final = "SELECT value FROM graph_rows WHERE kind = 'sentinel' AND key = ?"
_INSERT: Final = "INSERT INTO graph_rows (kind, key, seq, value) SELECT 'holder', ?, seq, ? FROM graph_state"
_UPDATE: Final = (
    "UPDATE graph_rows SET value = ?, seq = (SELECT seq FROM graph_state) WHERE kind = 'sentinel' AND key = ?"
)
_lineages: Final = msgspec.msgpack.Decoder(LineageRow)
_sentinels: Final = msgspec.msgpack.Decoder(SentinelRow)


def _worlds_of_holders(connection: sqlite3.Connection) -> None:
    encode = msgspec.msgpack.encode
    old = [old_holder(value) for _, value in connection.execute(_ROWS, ("holder",))]
    # Deleted rows go, too: their keys have the old form. With `forgotten`, a process that has the file open, of an older
    # release above all, reads the whole table again and stops at the first row that it does not know.
    connection.execute("DELETE FROM graph_rows WHERE kind = 'holder'")
    connection.execute("UPDATE graph_state SET seq = seq + 1, forgotten = seq + 1")
    for each in old:
        (sentinel,) = connection.execute(_SENTINEL, (encode(each.sentinel),)).fetchone() or (None,)
        row = holder_with_world(each, sentinel)
        connection.execute(_INSERT, (encode(row.key), encode(row)))


def _late_outcomes(connection: sqlite3.Connection) -> None:
    late = [(key,) for key, value in connection.execute(_ROWS, ("outcome",)) if is_late(value)]
    connection.executemany("DELETE FROM graph_rows WHERE kind = 'outcome' AND key = ?", late)


def _asks_of_versions(connection: sqlite3.Connection) -> None:
    encode = msgspec.msgpack.encode
    lineages = [_lineages.decode(value) for _, value in connection.execute(_ROWS, ("lineage",))]
    last_at_ms = {row.key: row.last_at_ms for row in lineages}
    versions: defaultdict[LineageKey, list[SentinelRow]] = defaultdict(list)
    for _, value in connection.execute(_ROWS, ("sentinel",)):
        row = _sentinels.decode(value)
        versions[LineageKey(row.key.lineage, row.key.namespace)].append(row)
    for lineage, rows in versions.items():
        after = with_asks(rows, last_at_ms.get(lineage))
        connection.executemany(_UPDATE, [(encode(row), encode(row.key)) for row in after])


def _model_3(connection: sqlite3.Connection) -> None:
    _worlds_of_holders(connection)
    _asks_of_versions(connection)
    _late_outcomes(connection)


STEPS: Final[tuple[ModelStep[sqlite3.Connection], ...]] = (ModelStep(3, _model_3),)
