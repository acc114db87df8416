"""A bare DAG file as a submission, and whose submission a record is; no full parse for either."""

from __future__ import annotations

from typing import Final

import msgspec
import orjson

_SPACE: Final = b" \t\r\n"
_ABSENT: Final = msgspec.Raw(b"")
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError)


class _Split(msgspec.Struct):
    """What tells a submission from a bare DAG; nothing below the first level is parsed."""

    strategy_id: msgspec.Raw = _ABSENT
    nodes: msgspec.Raw = _ABSENT
    dag: msgspec.Raw = _ABSENT
    dag_json: msgspec.Raw = _ABSENT


_split = msgspec.json.Decoder(_Split)
_items = msgspec.json.Decoder(list[msgspec.Raw])


def wrapped(raw: bytes, strategy_id: str, fields: dict[str, str] | None = None) -> bytes:
    """`raw` itself, or a submission around it when it is a bare DAG (has `nodes`, names no strategy)."""
    head = _head(raw)
    return _around(raw, strategy_id, fields) if head is not None and _is_bare(head) else raw


def strategy_key(raw: bytes) -> str:
    """The strategy a record speaks for, `''` when it cannot be told without reading it all."""
    if raw.lstrip(_SPACE)[:1] == b"[":
        try:
            return _text(_items.decode(raw)[2])
        except _BROKEN:
            return ""
    head = _head(raw)
    return _text(head.strategy_id) if head is not None else ""


def keyed(raw: bytes, strategy_id: str) -> tuple[str, bytes]:
    """`strategy_key` and value of what `wrapped` gives, in one pass over the bytes."""
    head = _head(raw)
    if head is None:
        return strategy_key(raw), raw
    if _is_bare(head):
        return strategy_id, _around(raw, strategy_id, None)
    return _text(head.strategy_id), raw


def _head(raw: bytes) -> _Split | None:
    if raw.lstrip(_SPACE)[:1] != b"{":
        return None
    try:
        return _split.decode(raw)
    except _BROKEN:
        return None


def _is_bare(head: _Split) -> bool:
    named = any(_given(each) for each in (head.strategy_id, head.dag, head.dag_json))
    return bytes(head.nodes) != b"" and not named  # `nodes: null` is a DAG too, and will be refused as one


def _given(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in {b"", b"null"}


def _around(raw: bytes, strategy_id: str, fields: dict[str, str] | None) -> bytes:
    head = orjson.dumps({"strategy_id": strategy_id, **(fields or {})})
    return head[:-1] + b',"dag":' + raw.strip(_SPACE) + b"}"


def _text(raw: msgspec.Raw) -> str:
    try:
        named = msgspec.json.decode(raw)
    except _BROKEN:
        return ""
    return named if isinstance(named, str) else ""
