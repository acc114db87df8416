"""Records of the submissions topic to envelopes; both forms are recognised by their shape (docs/contract.md, Submissions)."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

from dagmanager.dag.field_errors import (
    FieldError,
    bounded_text,
    escaped_key,
    field_error,
    object_at,
    text_at,
    wrong_value,
)
from dagmanager.dag.json.exact_json import (
    DECODE_ERRORS,
    is_utf8,
    items,
    keys_are_distinct,
    members,
    not_an_object,
    parse,
    parse_many,
    repeated_key_problem,
)
from dagmanager.dag.json.json_scan import BYTE_ORDER_MARK, JsonProblem, scan
from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Envelope, Foreign, Notice, Origin, Record, UnresolvedContext
from dagmanager.dag.record.context_fields import context_text, read_context
from dagmanager.echo import echoed
from dagmanager.errors import ErrorCode, NoticeCode, Rejection

INGEST: Final = "gateway.ingest"
KIND_MAX: Final = 64
_INGEST_KEY: Final = "ingest:"
_UINT32_MAX: Final = 2**32 - 1

_split_commit_log = msgspec.json.Decoder(
    tuple[msgspec.Raw, msgspec.Raw, msgspec.Raw, dict[str, msgspec.Raw]]
).decode


def decode(record: Record, limits: Limits) -> Envelope | Foreign | Rejection:
    """The submission in a record: everything except the DAG is parsed and checked.

    The DAG stays bytes for `canonicalize`. Records of other kinds are `Foreign`, invalid ones a `Rejection`.
    """
    try:
        return _decode(record, limits)
    except FieldError as found:
        return found.rejection


def _decode(record: Record, limits: Limits) -> Envelope | Foreign:
    value = record.value
    if not value:
        raise field_error(
            "", "the record has no bytes: a tombstone, or an empty value", code=ErrorCode.INVALID_JSON
        )
    size = record.whole.length if record.whole else len(value)
    if size > limits.bytes_max:
        message = f"the record has {size} bytes, the limit is {limits.bytes_max}"
        raise field_error("", message, str(limits.bytes_max), str(size), ErrorCode.TOO_LARGE)
    if not is_utf8(value):
        raise FieldError(_problem_or_not_an_object(scan(value, limits.depth_max)).rejection())
    if value.lstrip(b" \t\r\n")[:1] == b"[":
        return _from_list(record, limits)
    found = members(value, limits.depth_max)
    if isinstance(found, JsonProblem):
        raise FieldError(found.rejection())
    raw_dag = found.pop("dag", None)
    fields = _fields(value, found, "", limits)
    strategy_id = _strategy_id(fields.get("strategy_id"), "/strategy_id")
    sent = read_context({name: fields.get(name) for name in UnresolvedContext.__struct_fields__}, "")
    return Envelope(
        strategy_id=strategy_id,
        dag=_dag(raw_dag, fields, "", limits),
        form="diff_request",
        context=sent,
        worlds=_worlds(fields, sent, "", limits),
        node_ids_crc32=_crc32(fields, ""),
        warnings=_key_notices(record, strategy_id),
    )


def _from_list(record: Record, limits: Limits) -> Envelope | Foreign:
    """A commit-log record, or another list."""
    value = record.value
    try:
        kind, when, who, payload = _split_commit_log(value)
    except DECODE_ERRORS:
        return _foreign_list(value, limits)
    # A kind with escapes (`"gateway\\u002eingest"`) is the same text; only such a one must be parsed.
    if bytes(kind) != b'"gateway.ingest"' and (b"\\" not in bytes(kind) or parse(bytes(kind), 1) != INGEST):
        return _foreign_list(value, limits)
    found = {key: bytes(raw) for key, raw in payload.items()}
    quotes_outside = bytes(kind).count(b'"') + bytes(when).count(b'"') + bytes(who).count(b'"')
    if not keys_are_distinct(value, found, quotes_outside):
        # Two levels more than a DAG may have: the list and the payload around it.
        problem = repeated_key_problem(value, limits.depth_max + 2)
        if problem:
            raise FieldError(problem.rejection())
    raw_dag = found.pop("dag", None)
    head = _fields(value, {"1": bytes(when), "2": bytes(who)}, "", limits)
    # Not used for anything, but a text there means another form of record. A bool would be an int.
    if isinstance(head["1"], bool) or not isinstance(head["1"], int | float | None):
        raise wrong_value("/1", "a time in milliseconds", head["1"])
    strategy_id = _strategy_id(head["2"], "/2")
    fields = _fields(value, found, "/3", limits)
    sent = read_context(object_at(fields, "compute_context", "/3"), "/3/compute_context")
    return Envelope(
        strategy_id=strategy_id,
        dag=_dag(raw_dag, fields, "/3", limits),
        form="commit_log",
        context=sent,
        worlds=_worlds(fields, sent, "/3", limits),
        node_ids_crc32=_crc32(fields, "/3"),
        warnings=_key_notices(record, strategy_id),
    )


def _foreign_list(value: bytes, limits: Limits) -> Foreign:
    """Other records of a commit log start with a text: `["gateway.rebalance", …]`, `[node_id, …]`."""
    raws = items(value)
    if raws is None:
        raise FieldError(_problem_or_not_an_object(parse(value, limits.depth_max + 2)).rejection())
    first = parse(raws[0], limits.depth_max) if raws else None
    if not isinstance(first, str):
        raise FieldError(not_an_object().rejection())
    if first == INGEST:
        if len(raws) != 4:
            raise field_error("", _wrong_length(len(raws)), "4 items", str(len(raws)))
        raise wrong_value("/3", "an object", parse(raws[3], limits.depth_max))
    if first.startswith("gateway."):
        return Foreign(echoed(first, KIND_MAX))
    return Foreign("node_output" if len(raws) == 4 else "list")


def _wrong_length(count: int) -> str:
    form = f'a commit-log record is ["{INGEST}", ms, strategy_id, {{…}}]'
    if count > 4:
        return f"{form}; this one has {count} items, {count - 4} too many"
    missing = ("ms (a time)", "strategy_id", "{…} (the object with the DAG)")[count - 1 :]
    return f"{form}; this one ends early, without {', '.join(missing)}"


def _problem_or_not_an_object(problem: Any) -> JsonProblem:
    """The problem that a closer look found; a text without one has another shape than a submission."""
    return problem if isinstance(problem, JsonProblem) else not_an_object()


def _fields(whole: bytes, found: dict[str, bytes], pointer: str, limits: Limits) -> dict[str, Any]:
    """Members of the record, parsed. Texts that are not used are skipped: only objects can contain a repeated key."""
    wanted = {key: raw for key, raw in found.items() if raw[:1] != b'"' or key in _TEXTS}
    fields: dict[str, Any] = {}
    for (key, raw), value in zip(
        wanted.items(), parse_many(list(wanted.values()), limits.depth_max - 1), strict=True
    ):
        if isinstance(value, JsonProblem):
            raise FieldError(value.within(whole, raw, f"{pointer}/{escaped_key(key)}").rejection())
        fields[key] = value
    return fields


_TEXTS: Final = frozenset(
    {"1", "2", "strategy_id", "dag_json", "dag_base64", "world_ids", "node_ids_crc32", "compute_context"}
    | set(UnresolvedContext.__struct_fields__)
)


def _strategy_id(value: Any, pointer: str) -> str:
    if value is None or value == "":
        raise field_error(pointer, f"{pointer}: a strategy_id is required", code=ErrorCode.MISSING_FIELDS)
    if not isinstance(value, str) or not value.strip():
        raise wrong_value(pointer, "text that is not blank", value)
    return bounded_text(value, pointer)


def _dag(raw: bytes | None, fields: dict[str, Any], pointer: str, limits: Limits) -> bytes:
    """The DAG's bytes: the object `dag`, else the text `dag_json`, else the text `dag_base64` (of the Gateway)."""
    if raw is not None and raw != b"null":
        if raw[:1] != b"{":
            raise wrong_value(f"{pointer}/dag", "an object", parse(raw, limits.depth_max))
        return raw
    for name in ("dag_json", "dag_base64"):
        text = text_at(fields, name, pointer)
        if text:
            found = dag_bytes(text, limits, f"{pointer}/{name}")
            if isinstance(found, Rejection):
                raise FieldError(found)
            return found
    message = f"{pointer}/dag_json: neither dag_json nor dag is given"
    raise field_error(f"{pointer}/dag_json", message, code=ErrorCode.MISSING_FIELDS)


def dag_bytes(text: str, limits: Limits, pointer: str = "/dag_json") -> bytes | Rejection:
    """The JSON bytes of a DAG sent as text: JSON, or base64 of it (URL-safe and without padding as well)."""
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        found = stripped.encode()
    else:
        plain = "".join(stripped.split()).rstrip("=").replace("-", "+").replace("_", "/")
        try:
            found = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).strip()
        except (binascii.Error, ValueError):
            found = b""
    if len(found) > limits.bytes_max:
        message = f"{pointer}: the DAG has {len(found)} bytes, the limit is {limits.bytes_max}"
        return Rejection(ErrorCode.TOO_LARGE, message, pointer, got=str(len(found)))
    if found.startswith(b"\xef\xbb\xbf") or stripped.startswith("\ufeff"):
        return Rejection(
            ErrorCode.INVALID_JSON, f"{pointer}: {BYTE_ORDER_MARK}", pointer, expected="{…} or base64"
        )
    if found[:1] != b"{":
        message = f"{pointer}: neither a JSON object nor base64 of one"
        return Rejection(
            ErrorCode.INVALID_JSON, message, pointer, expected="{…} or base64", got=repr(text[:40])
        )
    return found


def _worlds(fields: dict[str, Any], sent: UnresolvedContext, pointer: str, limits: Limits) -> tuple[str, ...]:
    """Every world that is named, each once, in order; `('',)` if none is."""
    asked = fields.get("world_ids")
    if asked is None:
        asked = []
    if not isinstance(asked, list):
        raise wrong_value(f"{pointer}/world_ids", "a list of texts", asked)
    if len(asked) > limits.worlds_max:
        message = f"{pointer}/world_ids: {len(asked)} worlds, the limit is {limits.worlds_max}"
        raise field_error(
            f"{pointer}/world_ids", message, str(limits.worlds_max), str(len(asked)), ErrorCode.TOO_LARGE
        )
    named = {str(position): world for position, world in enumerate(asked)}
    texts = [context_text(named, position, f"{pointer}/world_ids") for position in named]
    texts.append(context_text(fields, "world_id", pointer))
    found: dict[str, str] = {}
    for text in texts:
        if text and text.strip():
            found.setdefault(text.strip(), text)
    if not found and sent.world_id and sent.world_id.strip():
        return (sent.world_id,)
    return tuple(found.values()) or ("",)


def _crc32(fields: dict[str, Any], pointer: str) -> int | None:
    value = fields.get("node_ids_crc32")
    if value is None or (type(value) is int and 0 <= value <= _UINT32_MAX):
        return value
    raise wrong_value(f"{pointer}/node_ids_crc32", "an unsigned 32-bit integer", value)


def _key_notices(record: Record, strategy_id: str) -> tuple[Notice, ...]:
    """A warning if the record's key does not keep the order of its strategy (docs/semantics.md 9).

    Submissions from files and requests have no keys.
    """
    if record.key:
        named = record.key.decode(errors="replace")
        if strategy_id in (named, named.removeprefix(_INGEST_KEY)):
            return ()
        message = f"the record's key names {named[:80]!r}, its strategy is {strategy_id[:80]!r}"
        return (Notice(NoticeCode.UNKEYED_RECORD, f"{message}: order is kept per partition only"),)
    if not _is_topic(record.origin):
        return ()
    return (Notice(NoticeCode.UNKEYED_RECORD, "the record has no key: order is kept per partition only"),)


def _is_topic(origin: Origin) -> bool:
    """File paths have a `/`, which topic names cannot; the other two are names for submissions without a file."""
    return "/" not in origin.source and origin.source not in ("request", "-")
