"""One node object, read strictly: types and ranges checked, defaults applied, preimage written.

An invalid value raises `FieldError` with a pointer relative to the node (`/interval`); the caller adds the node's own.
Unknown fields are ignored (docs/contract.md, DAG JSON).
"""

from __future__ import annotations

import re
from typing import Any, Final

from dagmanager.dag.field_errors import bounded_text, field_error, flag_at, text_at, wrong_value
from dagmanager.dag.limits import SHORT_TEXT
from dagmanager.dag.model import Artifact, Node
from dagmanager.dag.nodes.params import (
    INT64_MAX,
    INTEGER_TEXT,
    TAG_QUERY,
    canonical_json,
    query_text,
    tag_query,
    tag_set,
)
from dagmanager.errors import ErrorCode

ID_PREFIX: Final = "blake3:"
# The digest, or 64 bytes of XOF output after a collision (docs/contract.md, NodeID).
is_node_id = re.compile(r"blake3:[0-9a-f]{64}(?:[0-9a-f]{64})?", re.ASCII).fullmatch
# `period` is an int32 in BufferInstruction, `interval` an int64.
INT32_MAX: Final = 2**31 - 1


# The fields that this module and `tag_query` read. A field with a similar name is probably misspelled.
KNOWN_FIELDS: Final = frozenset(
    {
        "node_id",
        "node_type",
        "code_hash",
        "schema_hash",
        "schema_compat_id",
        "schema_id",
        "name",
        "tags",
        "params",
    }
    | {
        "config",
        "interval",
        "period",
        "inputs",
        "dependencies",
        "global",
        "match_mode",
        "compute_key",
        "artifacts",
    }
)


def read_node(fields: dict[str, Any]) -> Node:
    """A node object as a canonical node; absent fields take the contract's defaults. Raises `FieldError`.

    `node_id` is as submitted ('' when absent); `hashing` proves it.
    """
    get = fields.get
    node_id, node_type, code_hash = get("node_id", ""), get("node_type"), get("code_hash")
    schema_hash, name = get("schema_hash"), get("name")
    # The usual case inline, at one type check per field: this function is most of the cost of a new node. The
    # functions below accept the other valid forms and raise the errors.
    if type(node_id) is not str or not (is_node_id(node_id) or not node_id):
        node_id = _node_id(node_id)
    if not (type(node_type) is type(code_hash) is type(schema_hash) is type(name) is str):
        node_type, code_hash = _text(fields, "node_type"), _text(fields, "code_hash")
        schema_hash, name = _text(fields, "schema_hash"), _text(fields, "name")
    if len(node_type) + len(code_hash) + len(schema_hash) > SHORT_TEXT:
        bounded_text(node_type, "/node_type")
        bounded_text(code_hash, "/code_hash")
        bounded_text(schema_hash, "/schema_hash")
    interval, period = get("interval"), get("period")
    if type(interval) is not int or not 0 <= interval <= INT64_MAX:
        interval = _whole(interval, "/interval", INT64_MAX)
    if type(period) is not int or not 0 <= period <= INT32_MAX:
        period = _whole(period, "/period", INT32_MAX)
    dependencies = _dependencies(get("inputs"), get("dependencies"))
    schema_compat_id = _schema_compat_id(fields)
    params = get("params")
    if type(params) is not dict or "config" in fields:
        params = _params(fields)
    query = tag_query(fields, get("params")) if node_type == TAG_QUERY else None
    if query:
        params_canon = query_text(query)
    else:
        params_canon = "null" if params is None else canonical_json(params)
    preimage = f"{node_type}|{interval}|{period}|{params_canon}|{','.join(dependencies)}|{schema_compat_id}|{code_hash}"
    return Node(
        node_id,
        node_type,
        interval,
        period,
        params_canon,
        dependencies,
        schema_compat_id,
        code_hash,
        preimage.encode(),
        schema_hash,
        tag_set(get("tags"), "/tags"),
        name,
        flag_at(fields, "global", "") if "global" in fields else False,
        query,
        _text(fields, "compute_key") if "compute_key" in fields else "",
        _artifacts(fields["artifacts"]) if "artifacts" in fields else (),
    )


def _node_id(value: Any) -> str:
    if value is None:
        return ""
    raise wrong_value("/node_id", "`blake3:` with 64 lower-case hex digits (128 after a collision)", value)


def missing_fields(fields: dict[str, Any]) -> list[str]:
    """The required fields that are absent, null or empty (docs/semantics.md 2)."""
    missing = [name for name in ("node_id", "node_type", "code_hash") if not fields.get(name)]
    if not (_has_text(fields.get("schema_compat_id")) or _has_text(fields.get("schema_id"))):
        missing.append("schema_compat_id")
    return missing


def misspelled_field(fields: dict[str, Any], name: str) -> str | None:
    """The unknown field that is probably a misspelling of `name`; None if there is none."""
    from difflib import get_close_matches  # slow to import, and only needed for a refusal

    found = get_close_matches(name, sorted(set(fields) - KNOWN_FIELDS), n=1, cutoff=0.75)
    return found[0] if found else None


def _has_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is str:
        return value
    return text_at(fields, name, "") or ""


def _whole(value: Any, pointer: str, largest: int) -> int:
    """A whole number from 0 to `largest`. Missing and empty are 0; integral floats and digits as text are accepted."""
    if type(value) is int:
        number = value
    elif value is None or value == "":
        return 0
    elif (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, str) and INTEGER_TEXT(value.strip())
    ):
        number = int(value)
    else:
        raise wrong_value(pointer, "a whole number", value)
    if not 0 <= number <= largest:
        raise field_error(
            pointer, f"{pointer}: a number from 0 to {largest} was expected", got=str(number)[:80]
        )
    return number


def _dependencies(inputs: Any, dependencies: Any) -> tuple[str, ...]:
    """`inputs` unless it is empty, else `dependencies`: sorted, without empty entries, with repeats."""
    if inputs is not None:
        _check_ids(inputs, "/inputs")
    if dependencies is not None and dependencies != inputs:
        _check_ids(dependencies, "/dependencies")
    chosen = inputs or dependencies
    return tuple(sorted(filter(None, chosen))) if chosen else ()


def _check_ids(ids: Any, pointer: str) -> None:
    if type(ids) is not list:
        raise wrong_value(pointer, "a list of node ids", ids)
    for position, item in enumerate(ids):
        if item is None or item == "":
            continue
        # The prefix only: an id that nothing has is an unresolved dependency, with a notice, not an invalid value.
        if type(item) is not str or not item.startswith(ID_PREFIX):
            raise wrong_value(f"{pointer}/{position}", f"a node id (text that starts with {ID_PREFIX})", item)


def _schema_compat_id(fields: dict[str, Any]) -> str:
    """`schema_compat_id`, trimmed, or the legacy `schema_id` if empty; both must agree (docs/requirements.md M2)."""
    current = bounded_text(_text(fields, "schema_compat_id"), "/schema_compat_id").strip()
    if "schema_id" not in fields:
        return current
    legacy = bounded_text(_text(fields, "schema_id"), "/schema_id").strip()
    if current and legacy and current != legacy:
        message = f"schema_compat_id {current!r} and schema_id {legacy!r} differ: send one of them"
        raise field_error("/schema_compat_id", message, legacy, current, ErrorCode.SCHEMA_ID_CONFLICT)
    return current or legacy


def _params(fields: dict[str, Any]) -> dict[str, Any] | None:
    """`params`, else `config`, else None. Both must be objects if present."""
    params, config = fields.get("params"), fields.get("config")
    if params is not None and type(params) is not dict:
        raise wrong_value("/params", "an object", params)
    if config is not None and type(config) is not dict:
        raise wrong_value("/config", "an object", config)
    return config if params is None else params


def _artifacts(value: Any) -> tuple[Artifact, ...]:
    """`[{path, checksum, size, framework?, dtype?}]`; `size` in bytes (docs/semantics.md 2)."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise wrong_value("/artifacts", "a list of objects", value)
    return tuple(_artifact(item, f"/artifacts/{position}") for position, item in enumerate(value))


def _artifact(item: Any, pointer: str) -> Artifact:
    if not isinstance(item, dict):
        raise wrong_value(pointer, "an object", item)
    fields: dict[str, Any] = item
    path, checksum = text_at(fields, "path", pointer), text_at(fields, "checksum", pointer)
    size = fields.get("size")
    if not path:
        raise wrong_value(f"{pointer}/path", "text that is not empty", path)
    if not checksum:
        raise wrong_value(f"{pointer}/checksum", "text that is not empty", checksum)
    if type(size) is not int or not 0 <= size <= INT64_MAX:
        raise wrong_value(f"{pointer}/size", "a number of bytes", size)
    return Artifact(
        path, checksum, size, text_at(fields, "framework", pointer), text_at(fields, "dtype", pointer)
    )
