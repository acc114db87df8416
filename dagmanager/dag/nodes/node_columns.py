"""The fast path of `read_node`: a batch of plain nodes column by column, mostly in C (a third of the time).

A plain node is what the SDK writes: every usual field exists with its usual type, and nothing must be corrected. If one
node of a batch is not plain, the whole batch goes to `read_node`, which also has the error messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import itemgetter
from typing import Any, Final

import orjson

from dagmanager.dag.limits import SHORT_TEXT
from dagmanager.dag.model import Node
from dagmanager.dag.nodes.node_fields import ID_PREFIX, INT32_MAX
from dagmanager.dag.nodes.params import INT64_MAX, TAG_QUERY, is_dropped
from dagmanager.dag.nodes.version import SENTINEL

_PLAIN_FIELDS = itemgetter(
    "node_id",
    "node_type",
    "code_hash",
    "schema_compat_id",
    "schema_hash",
    "name",
    "interval",
    "period",
    "inputs",
    "dependencies",
    "tags",
    "params",
)
_RARE_FIELDS: Final = frozenset({"schema_id", "config", "global", "compute_key", "artifacts"})
_HEX: Final = b"0123456789abcdef"
_ID_LENGTH: Final = len(ID_PREFIX) + 64
_PREFIX_LENGTH: Final = len(ID_PREFIX)
_PREFIX_REST: Final = ID_PREFIX.encode().translate(None, _HEX)
_RELEVANT: Final = frozenset({dict, list, float})
_dump = orjson.dumps
_SORTED: Final = orjson.OPT_SORT_KEYS


def read_columns(trees: Sequence[Any]) -> list[Node] | None:
    """The nodes of all objects, or None when one of them is not plain."""
    if not _all_of(dict, trees):
        return None
    try:
        rows = list(map(_PLAIN_FIELDS, trees))
    except KeyError:
        return None
    # Two passes over all keys at C speed are cheaper than a check per node.
    if not rows or not _RARE_FIELDS.isdisjoint(set().union(*trees)):
        return None
    ids, types, codes, schemas, hashes, names, intervals, periods, inputs, others, tags, params = zip(
        *rows, strict=True
    )
    if not all(_all_of(str, column) for column in (ids, types, codes, schemas, hashes, names)):
        return None
    if max(map(len, chain(types, codes, schemas, hashes))) > SHORT_TEXT:
        return None
    # Tag queries have another preimage, sentinel entries are no nodes: both have code of their own.
    if TAG_QUERY in types or SENTINEL in types or not (all(types) and all(codes) and _are_ids(ids)):
        return None
    if not _all_of(int, intervals) or min(intervals) < 0 or max(intervals) > INT64_MAX:
        return None
    if not _all_of(int, periods) or min(periods) < 0 or max(periods) > INT32_MAX:
        return None
    compat_ids = tuple(map(str.strip, schemas))
    if not (all(compat_ids) and _are_dependencies(inputs) and _are_dependencies(others)):
        return None
    # As `node_fields._dependencies`: `inputs` unless it is empty.
    chosen = [
        tuple(sorted(first or second)) if first or second else ()
        for first, second in zip(inputs, others, strict=True)
    ]
    tag_sets = _tag_sets(tags)
    canonical = _canonical(params)
    if tag_sets is None or canonical is None:
        return None
    # The same text as in `read_node`; the tests compare both on every node that Hypothesis finds.
    columns = zip(types, intervals, periods, canonical, map(",".join, chosen), compat_ids, codes, strict=True)
    preimages = [f"{a}|{b}|{c}|{d}|{e}|{f}|{g}".encode() for a, b, c, d, e, f, g in columns]
    return list(
        map(
            Node,
            *(ids, types, intervals, periods, canonical, chosen, compat_ids, codes),
            *(preimages, hashes, tag_sets, names),
        )
    )


def _all_of(kind: type, column: Iterable[Any]) -> bool:
    # `type`, not `isinstance`: to the latter `true` is an int, and would pass as an interval of 1 s.
    return set(map(type, column)) <= {kind}


def _are_ids(ids: Sequence[str]) -> bool:
    """Whether all are `blake3:` and 64 lower-case hex digits."""
    if set(map(len, ids)) != {_ID_LENGTH} or {text[:_PREFIX_LENGTH] for text in ids} != {ID_PREFIX}:
        return False
    # Without hex digits only the rest of each prefix may be left: one call in C instead of a match per id.
    return "".join(ids).encode().translate(None, _HEX) == _PREFIX_REST * len(ids)


def _are_dependencies(column: Sequence[Any]) -> bool:
    """Whether all are lists of texts that start with `blake3:`."""
    if not _all_of(list, column):
        return False
    named = list(chain.from_iterable(column))
    return _all_of(str, named) and {text[:_PREFIX_LENGTH] for text in named} <= {ID_PREFIX}


def _tag_sets(column: Sequence[Any]) -> list[tuple[str, ...]] | None:
    """Tags trimmed, sorted, each once; None when some are no texts. One DAG has few different lists of tags."""
    if not _all_of(list, column) or not _all_of(str, chain.from_iterable(column)):
        return None
    listed = list(map(tuple, column))
    cleaned = {tags: tuple(sorted(set(map(str.strip, tags)) - {""})) for tags in set(listed)}
    return [cleaned[tags] for tags in listed]


def _canonical(column: Sequence[Any]) -> list[str] | None:
    """Canonical JSON of each object; None when one needs more than sorted keys (see `params.canonical_json`)."""
    if not _all_of(dict, column) or _needs_exact_writer(column):
        return None
    try:
        return [_dump(params, option=_SORTED).decode() for params in column]
    except TypeError:  # an integer of more than 64 bits
        return None


def _needs_exact_writer(objects: Sequence[dict[str, Any]]) -> bool:
    """`params.needs_exact_writer` of several objects at once, level by level."""
    while objects:
        if any(map(is_dropped, set().union(*objects))):
            return True
        telling = _relevant(chain.from_iterable(map(dict.values, objects)))
        objects = [item for item in telling if type(item) is dict]
        while telling:
            floats = [abs(item) for item in telling if type(item) is float and item]
            # See `params._is_written_differently`.
            if floats and (min(floats) < 1e-4 or max(floats) >= 1e16):
                return True
            telling = _relevant(chain.from_iterable([item for item in telling if type(item) is list]))
            objects += [item for item in telling if type(item) is dict]
    return False


def _relevant(values: Iterable[Any]) -> list[Any]:
    """The values that can be a reason or contain one: objects, lists, floats."""
    listed = list(values)
    return list(compress(listed, map(_RELEVANT.__contains__, map(type, listed))))
