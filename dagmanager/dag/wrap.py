"""A bare DAG file as a submission, and whose submission a record is; no full parse for either."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson


class _Head(msgspec.Struct):
    strategy_id: Any = None
    nodes: Any = None
    dag: msgspec.Raw | None = None
    dag_json: msgspec.Raw | None = None


_head = msgspec.json.Decoder(_Head)


def wrapped(raw: bytes, strategy_id: str, fields: dict[str, str] | None = None) -> bytes:
    """`raw` itself, or a submission around it when it is a bare DAG (has `nodes`, names no strategy)."""
    if not _is_bare(raw):
        return raw
    head = orjson.dumps({"strategy_id": strategy_id, **(fields or {})})
    return head[:-1] + b',"dag":' + raw.strip() + b"}"


def strategy_key(raw: bytes) -> str:
    """The strategy a record speaks for, `''` when it cannot be told without reading it all."""
    try:
        if raw.lstrip()[:1] == b"[":
            form = msgspec.json.decode(raw, type=list[msgspec.Raw])
            named = msgspec.json.decode(form[2])
        else:
            named = _head.decode(raw).strategy_id
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError):
        return ""
    return named if isinstance(named, str) else ""


def _is_bare(raw: bytes) -> bool:
    if raw.lstrip()[:1] != b"{":
        return False
    try:
        head = _head.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    named = head.strategy_id is not None or head.dag is not None or head.dag_json is not None
    return head.nodes is not None and not named
