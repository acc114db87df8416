"""Invalid input gives a structured rejection with the place of the error (docs/semantics.md 2)."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Record
from dagmanager.dag.record.decode import decode
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Refused as RefusedRecord
from dagmanager.errors import ErrorCode, Rejection
from operators.steps.messages import dead_letter_of, diff_messages_of
from tests.dag import made, naive
from tests.dag.naive_json import Refused

NODE = made.node()

WRONG: list[tuple[str, Any, str]] = [
    ("node_id", 5, "/node_id"),
    ("node_id", "n1", "/node_id"),
    ("node_id", "sha256:" + "0" * 64, "/node_id"),
    ("node_id", "blake3:" + "F" * 64, "/node_id"),
    ("node_type", 5, "/node_type"),
    ("interval", "x", "/interval"),
    ("interval", 1.5, "/interval"),
    ("interval", -1, "/interval"),
    ("interval", True, "/interval"),
    ("interval", [], "/interval"),
    ("interval", 2**63, "/interval"),
    ("period", 2**31, "/period"),
    ("period", {}, "/period"),
    ("params", [], "/params"),
    ("params", "x", "/params"),
    ("config", 1, "/config"),
    ("inputs", "x", "/inputs"),
    ("inputs", [7], "/inputs/0"),
    ("inputs", ["n1"], "/inputs/0"),
    ("dependencies", {}, "/dependencies"),
    ("dependencies", [[]], "/dependencies/0"),
    ("schema_compat_id", 1, "/schema_compat_id"),
    ("schema_id", [], "/schema_id"),
    ("schema_hash", 1, "/schema_hash"),
    ("code_hash", 1, "/code_hash"),
    ("name", 1, "/name"),
    ("tags", 1, "/tags"),
    ("tags", ["a", 1], "/tags/1"),
    ("global", "yes", "/global"),
    ("compute_key", 1, "/compute_key"),
    ("artifacts", {}, "/artifacts"),
    ("artifacts", [1], "/artifacts/0"),
    ("artifacts", [{"path": "p", "checksum": "c", "size": "1"}], "/artifacts/0/size"),
    ("artifacts", [{"path": "", "checksum": "c", "size": 1}], "/artifacts/0/path"),
]


@pytest.mark.parametrize(("field", "value", "pointer"), WRONG)
def test_a_wrong_value_in_a_node_names_node_and_pointer(field: str, value: Any, pointer: str) -> None:
    found = made.refused(made.request(made.dag(NODE, made.node(period=9) | {field: value})))
    assert found.code is ErrorCode.INVALID_FIELD, found
    assert found.field == f"/nodes/1{pointer}"
    if field != "node_id":
        assert found.node_id == made.node(period=9)["node_id"]


HEADS: list[tuple[dict[str, Any], str]] = [
    ({"nodes": {}}, "/nodes"),
    ({"nodes": "x"}, "/nodes"),
    ({"nodes": [1]}, "/nodes/0"),
    ({"meta": []}, "/meta"),
    ({"compute_context": 1}, "/compute_context"),
    ({"compute_context": {"as_of": 5}}, "/compute_context/as_of"),
    ({"compute_context": {"world_id": "a\x1fb"}}, "/compute_context/world_id"),
    ({"meta": {"topic_namespace": 5}}, "/meta/topic_namespace"),
    ({"meta": {"strategy_name": 5}}, "/meta/strategy_name"),
    ({"meta": {"version": []}}, "/meta/version"),
    ({"schema_version": 1}, "/schema_version"),
    ({"version": True}, "/version"),
    ({"nodes": [{"node_type": "VersionSentinel", "weight": "x"}]}, "/nodes/0/weight"),
    ({"nodes": [{"node_type": "VersionSentinel", "version": {}}]}, "/nodes/0/version"),
]


@pytest.mark.parametrize(("fields", "pointer"), HEADS)
def test_a_wrong_value_in_the_dag_names_the_pointer(fields: dict[str, Any], pointer: str) -> None:
    found = made.refused(made.request(made.dag() | fields))
    assert (found.code, found.field) == (ErrorCode.INVALID_FIELD, pointer)


ENVELOPES: list[tuple[Any, ErrorCode, str]] = [
    ({"dag": made.dag()}, ErrorCode.MISSING_FIELDS, "/strategy_id"),
    ({"strategy_id": 5, "dag": made.dag()}, ErrorCode.INVALID_FIELD, "/strategy_id"),
    ({"strategy_id": " ", "dag": made.dag()}, ErrorCode.INVALID_FIELD, "/strategy_id"),
    ({"strategy_id": "s"}, ErrorCode.MISSING_FIELDS, "/dag_json"),
    ({"strategy_id": "s", "dag": "x"}, ErrorCode.INVALID_FIELD, "/dag"),
    ({"strategy_id": "s", "dag_json": 5}, ErrorCode.INVALID_FIELD, "/dag_json"),
    ({"strategy_id": "s", "dag_json": "%%"}, ErrorCode.INVALID_JSON, "/dag_json"),
    ({"strategy_id": "s", "dag_json": "[]"}, ErrorCode.INVALID_JSON, "/dag_json"),
    ({"strategy_id": "s", "dag": {}, "world_id": 5}, ErrorCode.INVALID_FIELD, "/world_id"),
    ({"strategy_id": "s", "dag": {}, "as_of": 5}, ErrorCode.INVALID_FIELD, "/as_of"),
    ({"strategy_id": "s", "dag": {}, "world_ids": "w"}, ErrorCode.INVALID_FIELD, "/world_ids"),
    ({"strategy_id": "s", "dag": {}, "world_ids": [1]}, ErrorCode.INVALID_FIELD, "/world_ids/0"),
    ({"strategy_id": "s", "dag": {}, "node_ids_crc32": -1}, ErrorCode.INVALID_FIELD, "/node_ids_crc32"),
    (["gateway.ingest", 1, "s"], ErrorCode.INVALID_FIELD, ""),
    (["gateway.ingest", 1, "s", []], ErrorCode.INVALID_FIELD, "/3"),
    (["gateway.ingest", "x", "s", {"dag": {}}], ErrorCode.INVALID_FIELD, "/1"),
    (["gateway.ingest", 1, "", {"dag": {}}], ErrorCode.MISSING_FIELDS, "/2"),
    (["gateway.ingest", 1, "s", {}], ErrorCode.MISSING_FIELDS, "/3/dag_json"),
    (
        ["gateway.ingest", 1, "s", {"dag": {}, "compute_context": []}],
        ErrorCode.INVALID_FIELD,
        "/3/compute_context",
    ),
    ([], ErrorCode.INVALID_JSON, ""),
    ([1, 2], ErrorCode.INVALID_JSON, ""),
    ("text", ErrorCode.INVALID_JSON, ""),
    (None, ErrorCode.INVALID_JSON, ""),
]


@pytest.mark.parametrize(("value", "code", "pointer"), ENVELOPES)
def test_a_wrong_record_names_the_pointer(value: Any, code: ErrorCode, pointer: str) -> None:
    found = decode(Record(json.dumps(value).encode(), made.TOPIC), made.LIMITS)
    assert isinstance(found, Rejection), found
    assert (found.code, found.field) == (code, pointer)


@pytest.mark.parametrize(
    "value",
    [
        b'{"strategy_id":"s","strategy_id":"t","dag":{"nodes":[]}}',
        b'{"strategy_id":"s","dag":{"nodes":[]},"dag":{"nodes":[]}}',
        b'["gateway.ingest",1,"s",{"dag":{"nodes":[]},"x":1,"x":1}]',
        b'["gateway.ingest",1,"s",{"dag":{"nodes":[]},"compute_context":{"as_of":"a","as_of":"b"}}]',
        b'{"strategy_id":"s","dag":{"nodes":[]},"note":NaN}',
        b'{"strategy_id":"s","dag":{"nodes":[]},"note":[1e999]}',
        b'["gateway.ingest",1,"s",{"dag":{"nodes":[]}',
        b'["gateway.ingest",1,"\\udc00",{"dag":{"nodes":[]}}]',
    ],
)
def test_the_record_around_the_dag_is_read_as_strictly(value: bytes) -> None:
    found = decode(Record(value, made.TOPIC), made.LIMITS)
    assert isinstance(found, Rejection), found
    assert found.code is ErrorCode.INVALID_JSON


def test_size_number_of_nodes_and_worlds_are_bounded() -> None:
    record = made.request(made.dag(NODE, made.node(period=9)), world_ids=["a", "b", "c"])
    assert made.refused(record, Limits(bytes_max=100)).code is ErrorCode.TOO_LARGE
    assert made.refused(record, Limits(nodes_max=1)).field == "/nodes"
    assert made.refused(record, Limits(worlds_max=2)).field == "/world_ids"
    made.accepted(record, Limits(nodes_max=2, worlds_max=3))


LONG = "x" * 4_097
WIDE = "é" * 2_049  # an allowed number of characters, but too many bytes
AT_LIMIT = ["x" * 4_096, "é" * 2_048]
SENTINEL = {"node_type": "VersionSentinel"}


def of_context(text: str, pointer: str) -> list[tuple[dict[str, Any], dict[str, Any], str]]:
    return [
        ({"compute_context": {name: text}}, {}, f"{pointer}/compute_context/{name}")
        for name in ("world_id", "execution_domain", "as_of", "partition", "dataset_fingerprint")
    ]


def repeated(text: str) -> list[tuple[dict[str, Any], dict[str, Any], str]]:
    """Fields of the DAG and of the record around it, each with such a text in a field that answers repeat."""
    given = [field for field, _, _ in of_context(text, "")]
    return [
        ({}, {"strategy_id": text}, "/strategy_id"),
        ({}, {"world_ids": ["w", text]}, "/world_ids/1"),
        *(({}, each["compute_context"], f"/{next(iter(each['compute_context']))}") for each in given),
        ({}, {"downgrade_reason": text}, "/downgrade_reason"),
        *of_context(text, ""),
        *(({"meta": each}, {}, f"/meta{pointer}") for each, _, pointer in of_context(text, "")),
        ({"meta": {"execution_domain": text}}, {}, "/meta/execution_domain"),
        *(({name: text}, {}, f"/{name}") for name in ("version", "strategy_version")),
        ({"version": "v1", "meta": {"build_version": text}}, {}, "/meta/build_version"),
        ({"meta": {"version": text}}, {}, "/meta/version"),
        ({"nodes": [SENTINEL | {"version": text}, NODE]}, {}, "/nodes/0/version"),
    ]


@pytest.mark.parametrize("text", [LONG, WIDE, "x" * 1_000_000])
def test_a_text_that_every_record_repeats_is_bounded(text: str) -> None:
    for tree, fields, pointer in repeated(text):
        record = made.request(made.dag(NODE) | tree, **fields)
        found = made.refused(record)
        size = len(text.encode())
        assert (found.code, found.field, found.got) == (ErrorCode.TOO_LARGE, pointer, str(size)), pointer
        assert found.message == f"{pointer}: the text has {size} bytes, the limit is 4096"
        with pytest.raises(Refused):
            naive.pure_steps(record.value)


@pytest.mark.parametrize("text", AT_LIMIT)
def test_a_text_of_4096_bytes_is_the_longest_that_is_accepted(text: str) -> None:
    for tree, fields, _ in repeated(text):
        record = made.request(made.dag(NODE) | tree, **fields)
        made.accepted(record)
        naive.pure_steps(record.value)


def test_a_version_number_is_bounded_like_a_text() -> None:
    found = made.refused(made.request(made.dag(NODE, version=10**4_200)))
    assert (found.code, found.field, found.got) == (ErrorCode.TOO_LARGE, "/version", "4201")


@pytest.mark.parametrize("plain", [True, False], ids=["by columns", "node by node"])
@pytest.mark.parametrize("field", ["node_type", "code_hash", "schema_hash", "schema_compat_id"])
def test_the_texts_of_a_node_are_bounded_on_every_path(field: str, plain: bool) -> None:
    other = {} if plain else {"global": True}
    for text in (LONG, WIDE):
        bad = made.node(code_hash="c2") | {field: text}
        record = made.request(made.dag(NODE | other, bad))
        found = made.refused(record)
        assert (found.code, found.field) == (ErrorCode.TOO_LARGE, f"/nodes/1/{field}")
        assert found.node_id == bad["node_id"]
        assert f"the text has {len(text.encode())} bytes, the limit is 4096" in found.message
        with pytest.raises(Refused):
            naive.pure_steps(record.value)
    for text in AT_LIMIT:
        made.accepted(made.request(made.dag(NODE | other, made.node(period=9, **{field: text}))))


def test_the_older_name_of_a_schema_is_bounded_too() -> None:
    bad = made.without(NODE, "schema_compat_id") | {"schema_id": LONG}
    found = made.refused(made.request(made.dag(bad)))
    assert (found.code, found.field) == (ErrorCode.TOO_LARGE, "/nodes/0/schema_id")


@pytest.mark.parametrize("field", ["interval", "period"])
@pytest.mark.parametrize("digits", [20, 4_000, 1_000_000])
def test_a_number_of_any_length_is_no_interval(field: str, digits: int) -> None:
    text = json.dumps(made.dag(NODE | {field: "N"})).encode()
    for number in (b"9" * digits, b'"' + b"9" * digits + b'"'):
        found = made.refused(made.raw_request(text.replace(b'"N"', number)))
        assert (found.code, found.field) == (ErrorCode.INVALID_FIELD, f"/nodes/0/{field}")
        assert len(found.message) < 300


def test_missing_fields_of_all_nodes_are_reported_together() -> None:
    bare = {"node_type": "Node", "params": {}}
    found = made.refused(made.request(made.dag(*([bare] * 150), NODE)))
    assert found.code is ErrorCode.MISSING_FIELDS
    assert found.message.startswith("150 nodes lack")
    assert len(found.details) == 300
    assert [each["missing"] for each in found.details[:3]] == ["node_id", "code_hash", "schema_compat_id"]
    assert found.details[3]["field"] == "/nodes/1/node_id"


def test_missing_fields_are_reported_with_invalid_values() -> None:
    wrong, bare = {"node_id": "blake3:00", "node_type": "Node"}, {"node_type": "X"}
    found = made.refused(made.request(made.dag(wrong, bare)))
    assert (found.code, found.field) == (ErrorCode.INVALID_FIELD, "/nodes/0/node_id")
    assert found.message.endswith("(2 nodes lack required fields, see the details)")
    assert [each["field"] for each in found.details] == [
        "/nodes/0/node_id",
        "/nodes/0/code_hash",
        "/nodes/0/schema_compat_id",
        "/nodes/1/node_id",
        "/nodes/1/code_hash",
        "/nodes/1/schema_compat_id",
    ]
    assert [each["code"] for each in found.details] == ["invalid_field", *["missing_fields"] * 5]


def test_a_misspelt_field_is_named_where_the_right_one_is_missing() -> None:
    bad = {name: value for name, value in NODE.items() if name != "code_hash"}
    found = made.refused(made.request(made.dag(bad | {"code_hsh": "c", "schema_hash": "s"})))
    assert "did you mean `code_hash` where it says `code_hsh`?" in found.message
    found = made.refused(made.request(made.dag(bad | {"schema_hash": "s"})))
    assert "did you mean" not in found.message, "a field that has a meaning is no typing error"


@pytest.mark.parametrize("field", ["node_id", "node_type", "code_hash", "schema_compat_id"])
@pytest.mark.parametrize("empty", [None, ""])
def test_null_and_empty_are_missing(field: str, empty: str | None) -> None:
    found = made.refused(made.request(made.dag(NODE | {field: empty})))
    assert (found.code, found.field) == (ErrorCode.MISSING_FIELDS, f"/nodes/0/{field}")


def test_every_wrong_id_is_listed() -> None:
    wrong = [made.node(period=number) | {"period": number + 100} for number in range(3)]
    found = made.refused(made.request(made.dag(NODE, {"node_type": "VersionSentinel"}, *wrong)))
    assert found.code is ErrorCode.NODE_ID_MISMATCH
    assert [each["field"] for each in found.details] == [f"/nodes/{at}/node_id" for at in (2, 3, 4)]
    assert found.got == wrong[0]["node_id"]
    assert found.expected == made.node(period=100)["node_id"]
    assert found.details[0]["node_type"] == "Node"


def test_a_wrong_checksum_is_refused() -> None:
    found = made.refused(made.request(made.dag(NODE), node_ids_crc32=1))
    assert (found.code, found.got) == (ErrorCode.CRC_MISMATCH, "1")
    made.accepted(made.request(made.dag(NODE), node_ids_crc32=int(found.expected or "")))


def recorded(value: bytes) -> Record:
    return Record(value, made.TOPIC, b"s", 1)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_version_sentinel_entry_does_not_count_as_a_node(indent: int | None) -> None:
    entry = {"node_type": "VersionSentinel", "node_id": "s-sentinel"}

    def record(*nodes: Any) -> Record:
        return recorded(json.dumps({"strategy_id": "s", "dag": made.dag(*nodes)}, indent=indent).encode())

    made.accepted(record(made.node(), entry), Limits(nodes_max=1))
    found = made.refused(record(made.node(), made.node(period=9), entry), Limits(nodes_max=1))
    assert (found.code, found.got) == (ErrorCode.TOO_LARGE, "2")


@pytest.mark.parametrize("number", [2**64, -(2**64), 10**400, 10**4_290])
@pytest.mark.parametrize("field", ["node_id", "node_type", "name"])
def test_an_integer_beyond_64_bits_is_named_and_can_be_answered(field: str, number: int) -> None:
    record = made.request(made.dag(made.node() | {field: number}))
    for item in Reader(ReadOptions()).read(record):
        assert isinstance(item, RefusedRecord)
        assert item.rejection.field == f"/nodes/0/{field}"
        for message in (*diff_messages_of(item), *dead_letter_of(item)):
            assert len(message.value) < 20_000


def test_params_may_be_null_or_absent() -> None:
    made.accepted(made.request(made.dag(made.node(params=None))))
    made.accepted(made.request(made.dag(made.node(params={}))))
    made.accepted(made.request(made.dag(made.without(made.node(params=None), "params"))))


def test_a_byte_order_mark_is_named() -> None:
    text = json.dumps(made.dag(made.node()))
    marked = "\ufeff" + json.dumps({"strategy_id": "s", "dag": made.dag(made.node())})
    forms = (
        recorded(marked.encode()),
        recorded(json.dumps({"strategy_id": "s", "dag_json": "\ufeff" + text}).encode()),
        recorded(
            json.dumps(
                {"strategy_id": "s", "dag_json": b64encode(("\ufeff" + text).encode()).decode()}
            ).encode()
        ),
    )
    for record in forms:
        found = made.refused(record)
        assert found.code is ErrorCode.INVALID_JSON
        assert "byte order mark (U+FEFF)" in found.message
