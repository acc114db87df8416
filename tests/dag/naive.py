"""The pure steps a second time, slow and obvious, straight from the contract and docs/semantics.md 2.

Shares nothing with the product but error codes: `json`, `sorted`, one node after the other.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from typing import Any

from blake3 import blake3

from tests.dag.naive_json import DEPTH_MAX, LongInteger, Refused, exact, refuse, shallow

DROPPED = [
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
]


CONTEXT = ["world_id", "execution_domain", "as_of", "partition", "dataset_fingerprint", "downgrade_reason"]


BYTES_MAX, NODES_MAX, WORLDS_MAX, TEXT_BYTES_MAX = 8 * 1024 * 1024, 20_000, 1_000, 4_096


INT64, INT32 = 2**63 - 1, 2**31 - 1


class Foreign(Exception):  # noqa: N818 - likewise
    pass


def need(holds: bool, why: object = "") -> None:
    if not holds:
        refuse("invalid_field", why)


def text_of(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    need(value is None or (isinstance(value, str) and not isinstance(value, LongInteger)), name)
    return value or ""


def short(text: object) -> None:
    """Texts that every record of an answer repeats have a limit."""
    if len(str(text).encode()) > TEXT_BYTES_MAX:
        refuse("too_large", "text")


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def context_of(fields: dict[str, Any]) -> dict[str, Any]:
    for name in CONTEXT:
        need("\x1f" not in text_of(fields, name), name)
        short(text_of(fields, name))
    for name in ("safe_mode", "downgraded"):
        need(fields.get(name) is None or isinstance(fields[name], bool), name)
    return fields


def child(fields: dict[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    need(value is None or isinstance(value, dict), name)
    return value or {}


def split(value: bytes) -> tuple[str, dict[str, Any], Any]:
    """Strategy id, the request's fields, the DAG as a tree."""
    if len(value) > BYTES_MAX:
        refuse("too_large")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        refuse("invalid_json", error)
    record = exact(text)
    if isinstance(record, list):
        if not record or not isinstance(record[0], str) or isinstance(record[0], LongInteger):
            refuse("invalid_json", "not a submission")
        if record[0] != "gateway.ingest":
            raise Foreign
        need(len(record) == 4 and isinstance(record[3], dict), "commit log")
        when, strategy_id, fields = record[1:]
        need(when is None or (isinstance(when, int | float) and not isinstance(when, bool)), when)
        context_of(child(fields, "compute_context"))
    elif isinstance(record, dict):
        strategy_id, fields = record.get("strategy_id"), record
        context_of(fields)
    else:
        refuse("invalid_json", "top level")
    if strategy_id in (None, ""):
        refuse("missing_fields", "strategy_id")
    need(isinstance(strategy_id, str) and bool(strategy_id.strip()), "strategy_id")
    short(strategy_id)
    for name, member in fields.items():
        if name != "dag":
            shallow(member, DEPTH_MAX - 1)
    return strategy_id, fields, dag_of(fields)


def dag_of(fields: dict[str, Any]) -> Any:
    if fields.get("dag") is not None:
        need(isinstance(fields["dag"], dict), "dag")
        return fields["dag"]
    text = (text_of(fields, "dag_json") or text_of(fields, "dag_base64")).strip()
    if not text:
        given = fields.get("dag_json") or fields.get("dag_base64")
        refuse("invalid_json" if given else "missing_fields", "dag")
    if text[0] not in "{[":
        try:
            packed = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
            text = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode().strip()
        except ValueError as error:
            refuse("invalid_json", error)
    if text[:1] != "{":
        refuse("invalid_json", "no object")
    return exact(text)


def worlds_of(fields: dict[str, Any]) -> None:
    worlds = fields.get("world_ids")
    need(worlds is None or isinstance(worlds, list), "world_ids")
    if len(worlds or []) > WORLDS_MAX:
        refuse("too_large", "worlds")
    for world in [*(worlds or []), fields.get("world_id")]:
        need(world is None or (isinstance(world, str) and "\x1f" not in world), world)
        short(world or "")


def cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: cleaned(item)
            for key, item in value.items()
            if key.lower() not in DROPPED and not key.lower().startswith("env_")
        }
    return [cleaned(item) for item in value] if isinstance(value, list) else value


def canonical(value: Any) -> str:
    if isinstance(value, LongInteger):
        return value[:]
    if isinstance(value, dict):
        return "{" + ",".join(canonical(key) + ":" + canonical(value[key]) for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def number_of(value: Any, most: int) -> int:
    if value in (None, ""):
        return 0
    if isinstance(value, str) and not isinstance(value, LongInteger):
        need(re.fullmatch(r"[-+]?[0-9]{1,30}", value.strip(), re.ASCII) is not None, value)
        value = int(value)
    if isinstance(value, float):
        need(value.is_integer(), value)
        value = int(value)
    need(whole(value) and 0 <= value <= most, value)
    return int(value)


def tags_of(value: Any) -> list[str]:
    if isinstance(value, str) and not isinstance(value, LongInteger):
        value = value.split(",")
    need(value is None or isinstance(value, list), "tags")
    for tag in value or []:
        need(isinstance(tag, str) and not isinstance(tag, LongInteger), tag)
    return sorted({tag.strip() for tag in value or [] if tag.strip()})


def query_of(node: dict[str, Any]) -> str:
    params = node.get("params") or {}
    tags = params.get("query_tags") or params.get("tags")
    if tags is None:
        tags = node.get("tags")
    mode = params.get("match_mode")
    if mode is None:
        mode = node.get("match_mode")
    need(mode is None or (isinstance(mode, str) and not isinstance(mode, LongInteger)), mode)
    interval = node.get("interval")
    if interval is None:
        interval = params.get("interval")
    try:
        whole = int(interval) if isinstance(interval, bool | float) else interval
        seconds = None if whole in (None, "") else number_of(whole, 10**400)
    except Refused:
        seconds = None
    if isinstance(interval, LongInteger):
        seconds = None
    if isinstance(interval, int | float):
        need(int(interval) >= 0, interval)
    elif isinstance(interval, str) and not isinstance(interval, LongInteger):
        negative = re.fullmatch(r"-([0-9]{1,30})", interval.strip())
        if negative:
            need(not int(negative[1]), interval)
            seconds = 0
    need(seconds is None or seconds <= INT64, seconds)
    spec = {
        "interval": seconds,
        "match_mode": "all" if (mode or "").lower() == "all" else "any",
        "query_tags": tags_of(tags),
    }
    return canonical(spec)


def preimage_of(node: dict[str, Any]) -> str:
    for name in ("schema_hash", "name", "compute_key"):
        text_of(node, name)
    for name in ("node_type", "code_hash", "schema_hash", "schema_compat_id", "schema_id"):
        short(text_of(node, name))
    for name in ("params", "config"):
        need(node.get(name) is None or isinstance(node[name], dict), name)
    for name in ("inputs", "dependencies"):
        need(node.get(name) is None or isinstance(node[name], list), name)
        for item in node.get(name) or []:
            need(item in (None, "") or (isinstance(item, str) and item.startswith("blake3:")), item)
    need(node.get("global") is None or isinstance(node["global"], bool), "global")
    artifacts_of(node.get("artifacts"))
    interval, period = number_of(node.get("interval"), INT64), number_of(node.get("period"), INT32)
    schemas = {text_of(node, "schema_compat_id").strip(), text_of(node, "schema_id").strip()} - {""}
    if len(schemas) > 1:
        refuse("schema_id_conflict")
    params = node.get("params") if node.get("params") is not None else node.get("config")
    query = text_of(node, "node_type") == "TagQueryNode"
    params_text = query_of(node) if query else canonical(cleaned(params))
    tags_of(node.get("tags"))
    chosen = sorted(filter(None, node.get("inputs") or node.get("dependencies") or []))
    parts = [text_of(node, "node_type"), interval, period, params_text]
    parts += [",".join(chosen), "".join(schemas), text_of(node, "code_hash")]
    return "|".join(map(str, parts))


def artifacts_of(value: Any) -> None:
    need(value is None or isinstance(value, list), "artifacts")
    for item in value or []:
        need(isinstance(item, dict), "artifact")
        need(bool(text_of(item, "path")) and bool(text_of(item, "checksum")), "artifact")
        need(whole(item.get("size")) and 0 <= item["size"] <= INT64, "size")
        text_of(item, "framework")
        text_of(item, "dtype")


def id_of(preimage: str) -> str:
    return "blake3:" + blake3(preimage.encode()).hexdigest()


def is_id_of(node_id: str, preimage: str) -> bool:
    rounds = (blake3(f"{preimage}|collision:{n}".encode()).hexdigest(length=64) for n in range(1, 9))
    return node_id == id_of(preimage) or node_id.removeprefix("blake3:") in rounds


def lacks(node: dict[str, Any]) -> bool:
    schema = (node.get("schema_compat_id") or "").strip() or (node.get("schema_id") or "").strip()
    return not (node.get("node_id") and node.get("node_type") and node.get("code_hash") and schema)


def head_of(dag: dict[str, Any], sentinels: list[dict[str, Any]]) -> None:
    meta = child(dag, "meta")
    for fields in (*sentinels, dag, meta):
        names = ["strategy_version", "version"] + (["build_version"] if fields is not dag else [])
        for name in names:
            label = fields.get(name)
            plain = isinstance(label, str | int | float) and not isinstance(label, bool | LongInteger)
            need(label is None or plain, name)
            short(label)
    for fields in sentinels:
        for name in ("traffic_weight", "sentinel_weight", "weight"):
            weight = fields.get(name)
            if isinstance(weight, str) and not isinstance(weight, LongInteger):
                try:
                    weight = float(weight)
                except ValueError:
                    need(False, weight)
            need(weight is None or (isinstance(weight, int | float) and not isinstance(weight, bool)), weight)
            need(not isinstance(weight, float) or math.isfinite(weight), weight)
    for name in ("strategy_name", "name"):
        if text_of(meta, name).strip():
            break
    context_of(child(dag, "compute_context"))
    context_of(child(meta, "compute_context"))
    namespace = meta.get("topic_namespace")
    need(namespace is None or isinstance(namespace, str | dict), namespace)
    need(not isinstance(namespace, LongInteger), namespace)
    short(text_of(meta, "execution_domain"))
    if not text_of(dag, "commit_hash"):
        text_of(meta, "commit_hash")
    text_of(dag, "schema_version")


def has_cycle(edges: dict[str, list[str]]) -> bool:
    left = {name: {other for other in others if other in edges} for name, others in edges.items()}
    while True:
        free = {name for name, others in left.items() if not others}
        if not free:
            return bool(left)
        left = {name: others - free for name, others in left.items() if name not in free}


def pure_steps(value: bytes) -> list[str]:
    """The node ids of an accepted submission, as submitted. Raises `Refused` or `Foreign`."""
    _, fields, dag = split(value)
    worlds_of(fields)
    crc = fields.get("node_ids_crc32")
    need(crc is None or (whole(crc) and 0 <= crc < 2**32), crc)
    for name, member in dag.items():
        if name != "nodes":
            shallow(member, DEPTH_MAX - 1)
    if "nodes" not in dag:
        refuse("missing_fields", "nodes")
    need(isinstance(dag["nodes"], list), "nodes")
    free = [n for n in dag["nodes"] if isinstance(n, dict) and n.get("node_type") == "VersionSentinel"]
    if len(dag["nodes"]) - len(free) > NODES_MAX:
        refuse("too_large", "nodes")
    shallow(dag)
    nodes = list(dag["nodes"])
    found = read_nodes(nodes)
    head_of(dag, [n for n in nodes if n.get("node_type") == "VersionSentinel"])
    need(bool(found), "no compute nodes")
    check_graph(found)
    for node, preimage in found:
        if not is_id_of(node["node_id"], preimage):
            refuse("node_id_mismatch", preimage)
    ids = [node["node_id"] for node, _ in found]
    if crc is not None and zlib.crc32("".join(ids).encode()) != crc:
        refuse("crc_mismatch")
    return ids


def read_nodes(nodes: list[Any]) -> list[tuple[dict[str, Any], str]]:
    found, missing, wrong = [], False, None
    for node in nodes:
        try:
            need(isinstance(node, dict), "node")
            if node.get("node_type") == "VersionSentinel":
                continue
            node_id = node.get("node_id")
            right = isinstance(node_id, str) and re.fullmatch(r"blake3:([0-9a-f]{64}){1,2}", node_id)
            need(node_id in (None, "") or bool(right), node_id)
            preimage = preimage_of(node)
        except Refused as refusal:
            wrong = wrong or refusal
            continue
        missing = missing or lacks(node)
        found.append((node, preimage))
    if wrong:
        raise wrong
    if missing:
        refuse("missing_fields")
    return found


def check_graph(found: list[tuple[dict[str, Any], str]]) -> None:
    first: dict[str, tuple[dict[str, Any], str]] = {}
    twins: dict[str, set[str]] = {}
    impostor = False
    for node, preimage in found:
        kept = first.setdefault(node["node_id"], (node, preimage))
        if kept[1] != preimage:
            impostor = True
        else:
            twins.setdefault(node["node_id"], set()).update({node.get("schema_hash") or ""} - {""})
            if any(text_of(node, name) != text_of(kept[0], name) for name in ("node_type", "code_hash")):
                refuse("conflicting_node", "equal bytes of different fields")
    if any(len(hashes) > 1 for hashes in twins.values()):
        refuse("conflicting_node")
    edges = {
        node_id: [*filter(None, node.get("inputs") or node.get("dependencies") or [])]
        for node_id, (node, _) in first.items()
    }
    if has_cycle(edges):
        refuse("dependency_cycle")
    if impostor:
        refuse("node_id_mismatch")
