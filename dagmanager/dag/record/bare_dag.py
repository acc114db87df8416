"""A file with a bare DAG as a submission, and the strategy id of a record; both without parsing all of it."""

from __future__ import annotations

from typing import Final

import msgspec
import orjson

_SPACE: Final = b" \t\r\n"
_ABSENT: Final = msgspec.Raw(b"")
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError)


class _TopLevel(msgspec.Struct):
    """The fields that tell a submission from a bare DAG. Nothing below the first level is parsed."""

    strategy_id: msgspec.Raw = _ABSENT
    nodes: msgspec.Raw = _ABSENT
    dag: msgspec.Raw = _ABSENT
    dag_json: msgspec.Raw = _ABSENT


_split = msgspec.json.Decoder(_TopLevel)
_items = msgspec.json.Decoder(list[msgspec.Raw])


def as_submission(raw: bytes, strategy_id: str) -> bytes:
    """`raw` itself, or a submission of `strategy_id` with it, if it is a bare DAG (has `nodes`, but no strategy)."""
    head = _head(raw)
    return _enveloped(raw, strategy_id) if head is not None and _is_bare(head) else raw


def strategy_key(raw: bytes) -> str:
    """The strategy id of a record; `''` if it is broken or another kind of record."""
    if raw.lstrip(_SPACE)[:1] == b"[":
        try:
            return _decoded_text(_items.decode(raw)[2])
        except _DECODE_ERRORS:
            return ""
    head = _head(raw)
    return _decoded_text(head.strategy_id) if head is not None else ""


def keyed_submission(raw: bytes, strategy_id: str) -> tuple[str, bytes]:
    """`strategy_key` and bytes of `as_submission(raw, strategy_id)`, in one pass over the bytes."""
    head = _head(raw)
    if head is None:
        return strategy_key(raw), raw
    if _is_bare(head):
        return strategy_id, _enveloped(raw, strategy_id)
    return _decoded_text(head.strategy_id), raw


def _head(raw: bytes) -> _TopLevel | None:
    if raw.lstrip(_SPACE)[:1] != b"{":
        return None
    try:
        return _split.decode(raw)
    except _DECODE_ERRORS:
        return None


def _is_bare(head: _TopLevel) -> bool:
    named = any(_has_value(each) for each in (head.strategy_id, head.dag, head.dag_json))
    return bytes(head.nodes) != b"" and not named  # `nodes: null` is a DAG as well, and refused as one


def _has_value(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in {b"", b"null"}


def _enveloped(raw: bytes, strategy_id: str) -> bytes:
    head = orjson.dumps({"strategy_id": strategy_id})
    return head[:-1] + b',"dag":' + raw.strip(_SPACE) + b"}"


def _decoded_text(raw: msgspec.Raw) -> str:
    try:
        named = msgspec.json.decode(raw)
    except _DECODE_ERRORS:
        return ""
    return named if isinstance(named, str) else ""
