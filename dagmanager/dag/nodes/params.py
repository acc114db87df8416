"""Canonical JSON of a node's parameters, and of a tag query (docs/contract.md, NodeID field 4)."""

from __future__ import annotations

import json.encoder
import re
from functools import lru_cache
from typing import Any, Final

import orjson

from dagmanager.dag.field_errors import field_error, wrong_value
from dagmanager.dag.json.json_scan import HugeInteger
from dagmanager.dag.model import TagQuery

TAG_QUERY: Final = "TagQueryNode"
INT64_MAX: Final = 2**63 - 1

# Keys that say where or when a node runs rather than what it computes: no part of its id. Compared in lower case.
DROPPED_KEYS: Final = frozenset(
    {
        "world",
        "world_id",
        "world_ids",
        "execution_world",
        "execution_domain",
        "domain",
        "domains",
        "as_of",
        "partition",
        "dataset_fingerprint",
        "timestamp",
        "seed",
        "random_state",
        "env",
    }
)
DROPPED_PREFIX: Final = "env_"

_dump = orjson.dumps
_SORTED: Final = orjson.OPT_SORT_KEYS
_quoted = json.encoder.encode_basestring


def canonical_json(value: dict[str, Any]) -> str:
    """Canonical JSON: sorted keys, no spaces, floats as Python's `repr`, without `DROPPED_KEYS` at any level."""
    if needs_exact_writer(value):
        return _write(value)
    try:
        return _dump(value, option=_SORTED).decode()
    except TypeError:  # an integer of more than 64 bits
        return _write(value)


def needs_exact_writer(value: dict[str, Any]) -> bool:
    """Whether a key must be dropped, or orjson writes a float in another form than Python's `repr`."""
    # Hot: every value of every new node. One comparison settles the usual positive float without a call.
    for key, item in value.items():
        if is_dropped(key):
            return True
        kind = type(item)
        if kind is float:
            if not 1e-4 <= item < 1e16 and _is_written_differently(item):
                return True
        elif kind is dict:
            if needs_exact_writer(item):
                return True
        elif kind is list and _list_needs_exact_writer(item):
            return True
    return False


def _list_needs_exact_writer(value: list[Any]) -> bool:
    for item in value:
        kind = type(item)
        if kind is float:
            if not 1e-4 <= item < 1e16 and _is_written_differently(item):
                return True
        elif kind is dict:
            if needs_exact_writer(item):
                return True
        elif kind is list and _list_needs_exact_writer(item):
            return True
    return False


def _is_written_differently(number: float) -> bool:
    # Ids must be those that clients compute with Python's `json`, which writes an exponent outside of this range; orjson
    # does so at other limits. Both write 0.0 and -0.0 alike.
    return number != 0 and not 1e-4 <= abs(number) < 1e16


# Strategies use few different keys, and ask for each some thousand times.
@lru_cache(maxsize=16_384)
def is_dropped(key: str) -> bool:
    """Whether a key is no part of an id."""
    lower = key.lower()
    return lower in DROPPED_KEYS or lower.startswith(DROPPED_PREFIX)


def _write(value: Any) -> str:
    # Texts unescaped except for what JSON requires (`ensure_ascii=False` of Python's `json`), as orjson writes them.
    if isinstance(value, dict):
        kept = (f"{_quoted(key)}:{_write(value[key])}" for key in sorted(value) if not is_dropped(key))
        return "{" + ",".join(kept) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, HugeInteger):
        return value.digits
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def tag_query(fields: dict[str, Any], params: dict[str, Any] | None) -> TagQuery:
    """The normalised query of a TagQueryNode (docs/contract.md, NodeID): from `params`, else from the node itself.

    Raises `FieldError` for tags, match mode or interval of another type or range.
    """
    params_or_empty = params or {}
    tags = params_or_empty.get("query_tags") or params_or_empty.get("tags")
    pointer = "/params/query_tags" if params_or_empty.get("query_tags") else "/params/tags"
    if tags is None:
        tags, pointer = fields.get("tags"), "/tags"
    mode, mode_pointer = params_or_empty.get("match_mode"), "/params/match_mode"
    if mode is None:
        mode, mode_pointer = fields.get("match_mode"), "/match_mode"
    if mode is not None and not isinstance(mode, str):
        raise wrong_value(mode_pointer, "any or all", mode)
    interval = fields.get("interval")
    if interval is None:
        interval = params_or_empty.get("interval")
    return TagQuery(
        tags=tag_set(tags, pointer),
        match_mode="all" if mode is not None and mode.lower() == "all" else "any",
        interval=_query_interval(interval),
    )


def _query_interval(value: Any) -> int | None:
    """`int()` of the value, as clients compute it (60.5 is 60, true is 1); None where that fails (docs/contract.md, NodeID)."""
    number: int | None = None
    if isinstance(value, str):
        stripped = value.strip()
        number = int(stripped) if INTEGER_TEXT(stripped) else None
    elif isinstance(value, int | float):
        number = int(value)
    if number is not None and not 0 <= number <= INT64_MAX:
        raise field_error(
            "/interval", f"/interval: seconds from 0 to {INT64_MAX} were expected", got=str(number)[:80]
        )
    return number


# A whole number as text. Longer ones are out of range anyway.
INTEGER_TEXT = re.compile(r"[-+]?[0-9]{1,30}", re.ASCII).fullmatch


def query_text(query: TagQuery) -> str:
    """A tag query as field 4 of the preimage (docs/contract.md, NodeID)."""
    interval = "null" if query.interval is None else query.interval
    tags = orjson.dumps(query.tags).decode()
    return f'{{"interval":{interval},"match_mode":"{query.match_mode}","query_tags":{tags}}}'


def tag_set(value: Any, pointer: str) -> tuple[str, ...]:
    """Tags from a list of texts or one comma-separated text: trimmed, sorted, each once. Raises `FieldError`."""
    if not value and (value is None or isinstance(value, list | str)):
        return ()
    if isinstance(value, str):
        value = value.split(",")
    elif not isinstance(value, list):
        raise wrong_value(pointer, "a list of texts", value)
    try:
        kept = set(map(str.strip, value))
    except TypeError:
        position = next(at for at, tag in enumerate(value) if not isinstance(tag, str))
        raise wrong_value(f"{pointer}/{position}", "text", value[position]) from None
    kept.discard("")
    return tuple(sorted(kept))
