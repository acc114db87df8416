"""Both submission forms, recognised by their shape; foreign records; keys (docs/contract.md, Submissions; docs/semantics.md 9)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Envelope, Foreign, Origin, Record, UnresolvedContext
from dagmanager.dag.record.decode import dag_bytes, decode
from dagmanager.engine.reader import KINDS_MAX, Reader, ReadOptions
from tests.dag import made

TREE = made.dag(made.node(name="한국 ?~"))
TEXT = json.dumps(TREE, ensure_ascii=False)


def envelope(value: Any, key: bytes | None = b"s", origin: Origin = made.TOPIC) -> Envelope:
    return made.enveloped(Record(json.dumps(value).encode(), origin, key))


ENCODED = base64.b64encode(TEXT.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"  {TEXT}\n",
        json.dumps(TREE, indent=2),
        ENCODED,
        ENCODED.rstrip("="),
        base64.urlsafe_b64encode(TEXT.encode()).decode(),
        base64.urlsafe_b64encode(TEXT.encode()).decode().rstrip("="),
        "\n".join(ENCODED[at : at + 76] for at in range(0, len(ENCODED), 76)),
    ],
    ids=["json", "blanks", "indented", "base64", "unpadded", "urlsafe", "urlsafe-unpadded", "lines"],
)
def test_dag_json_is_json_text_or_any_base64_of_it(text: str) -> None:
    found = envelope({"strategy_id": "s", "dag_json": text})
    assert json.loads(found.dag) == TREE
    assert found.form == "diff_request"
    assert dag_bytes(text, made.LIMITS) == found.dag
    made.accepted(Record(json.dumps({"strategy_id": "s", "dag_json": text}).encode(), made.TOPIC))


def test_a_diff_request_carries_its_context_as_sent() -> None:
    context: dict[str, Any] = {
        "world_id": " w ",
        "execution_domain": "Paper",
        "as_of": "2025",
        "partition": "p",
        "dataset_fingerprint": "d",
    }
    found = envelope({"strategy_id": "s", "dag": TREE, "node_ids_crc32": 7, **context})
    assert found.context == UnresolvedContext(**context)
    assert (found.worlds, found.node_ids_crc32, found.strategy_id) == ((" w ",), 7, "s")


def test_a_commit_log_record_carries_the_gateways_context() -> None:
    context: dict[str, Any] = {
        "execution_domain": "backtest",
        "safe_mode": True,
        "downgrade_reason": "missing_as_of",
    }
    payload = {"dag": TREE, "compute_context": context | {"world_id": "w1"}, "world_ids": ["w1", "w2", "w1"]}
    found = envelope(["gateway.ingest", 5, "s", payload | {"node_ids_crc32": 9}], b"ingest:s")
    assert (found.form, found.worlds, found.node_ids_crc32) == ("commit_log", ("w1", "w2"), 9)
    assert found.context == UnresolvedContext(world_id="w1", **context)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("fields", "worlds"),
    [
        ({}, ("",)),
        ({"world_id": ""}, ("",)),
        ({"world_ids": []}, ("",)),
        ({"world_ids": ["b", "a", " b ", "", None]}, ("b", "a")),
        ({"world_ids": ["b"], "world_id": "a"}, ("b", "a")),
        ({"world_id": "a", "world_ids": ["a"]}, ("a",)),
    ],
)
def test_each_world_once_in_the_order_asked_for(fields: dict[str, Any], worlds: tuple[str, ...]) -> None:
    assert envelope({"strategy_id": "s", "dag": TREE} | fields).worlds == worlds
    assert envelope(["gateway.ingest", 1, "s", {"dag": TREE} | fields]).worlds == worlds


def test_the_world_of_the_gateways_context_counts_when_no_list_is_given() -> None:
    payload = {"dag": TREE, "compute_context": {"world_id": "w"}}
    assert envelope(["gateway.ingest", 1, "s", payload]).worlds == ("w",)


def test_a_commit_log_payload_may_carry_the_dag_as_text() -> None:
    for fields in ({"dag_json": TEXT}, {"dag_base64": ENCODED}, {"dag": None, "dag_json": ENCODED}):
        assert json.loads(envelope(["gateway.ingest", 1, "s", fields]).dag) == TREE


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["gateway.rebalance", 1, "b", {}], "gateway.rebalance"),
        (["gateway.rebalance"], "gateway.rebalance"),
        (["blake3:" + "0" * 64, 1700, "window", {"x": 1}], "node_output"),
        (["blake3:" + "0" * 64, 1700, "window", [1]], "node_output"),
        (["x"], "list"),
    ],
)
def test_records_of_other_kinds_are_foreign(value: Any, kind: str) -> None:
    assert decode(Record(json.dumps(value).encode(), made.TOPIC), made.LIMITS) == Foreign(kind)


@pytest.mark.parametrize(
    ("key", "origin", "noticed"),
    [
        (b"s", made.TOPIC, False),
        (b"ingest:s", made.TOPIC, False),
        (None, made.TOPIC, True),
        (b"", made.TOPIC, True),
        (b"other", made.TOPIC, True),
        (b"\xff", made.TOPIC, True),
        (None, Origin("request", "id"), False),
        (None, Origin("/tmp/a.json"), False),
        (None, Origin("-"), False),
    ],
)
def test_a_key_that_promises_no_order_is_noticed(key: bytes | None, origin: Origin, noticed: bool) -> None:
    found = envelope({"strategy_id": "s", "dag": TREE}, key, origin).warnings
    assert [notice.code for notice in found] == ["unkeyed_record"] * noticed


def test_unknown_fields_of_a_record_are_ignored() -> None:
    odd = {"note": "x", "more": [1, {"a": None}], "event": "gateway.ingest", "meta": {"a": 1}}
    assert envelope({"strategy_id": "s", "dag": TREE} | odd).strategy_id == "s"


def test_the_same_dag_has_the_same_content_in_every_form() -> None:
    values = [
        {"strategy_id": "s", "dag": TREE},
        {"strategy_id": "s", "dag_json": TEXT},
        {"strategy_id": "s", "dag_json": ENCODED},
        ["gateway.ingest", 1, "s", {"dag": TREE}],
    ]
    digests = {
        made.accepted(Record(json.dumps(value, indent=indent).encode(), made.TOPIC)).content_digest
        for value in values
        for indent in (None, 1)
    }
    assert len(digests) == 1


def test_kinds_of_other_records_are_shown_printable_and_bounded_in_length_and_number() -> None:
    reader = Reader(ReadOptions())
    for number in range(KINDS_MAX + 5):
        kind = f"gateway.\x1b[2J\x00{number}" + "x" * 100_000
        assert reader.read(Record(json.dumps([kind]).encode(), made.TOPIC)) == ()
    assert len(reader.foreign) == KINDS_MAX + 1
    assert reader.foreign["other"] == 5
    assert all(len(kind) <= 64 and kind.isprintable() for kind in reader.foreign)


def test_an_escaped_kind_is_the_same_kind() -> None:
    text = b'["gateway\\u002eingest", 1, "s", {"dag": {"nodes": []}}]'
    found = decode(Record(text, made.TOPIC, b"s"), Limits())
    assert isinstance(found, Envelope)
    assert (found.strategy_id, found.form) == ("s", "commit_log")


def test_a_strategy_id_that_begins_like_the_gateways_key_is_its_own_key() -> None:
    for key in (b"ingest:foo", b"ingest:ingest:foo"):
        assert envelope({"strategy_id": "ingest:foo", "dag": {}}, key).warnings == ()
