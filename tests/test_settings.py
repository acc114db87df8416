from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dagmanager.cli.commands.config_sample import reference, sample
from dagmanager.errors import SettingsError
from dagmanager.kafka.option_check import USUAL, option_problems
from dagmanager.settings.finding import FindingCode
from dagmanager.settings.source import OF_SERVERS, SettingsSource, check, find_source, load, resolve
from dagmanager.settings.table import RetentionPolicy, Settings, fields
from tests.cli.running import call

ROOT = Path(__file__).resolve().parent.parent
PROD = "neo4j_dsn: bolt://x\nkafka_dsn: k:9092\ncontrolbus_dsn: k:9092\ncontrolbus_queue_topic: queue\n"
REQUIRED = ["neo4j_dsn", "kafka_dsn", "controlbus_dsn", "controlbus_queue_topic"]


def source(text: str, **environ: str) -> SettingsSource:
    return SettingsSource(text, "s.yml", environ)


def codes(text: str, *, strict: bool = False, **environ: str) -> list[tuple[str, str, int]]:
    """Findings but for those about servers that are not named."""
    found = check(source(text, **environ), strict=strict)
    return [(each.level, each.code, each.line) for each in found if each.code not in OF_SERVERS]


@pytest.mark.parametrize(
    ("text", "environ", "field", "expected"),
    [
        ("", {}, "grpc_port", 50051),
        ("dagmanager:\n  grpc_port: 7\n", {}, "grpc_port", 7),
        ("grpc_port: 7\ngateway: {grpc_port: 8}\n", {}, "grpc_port", 7),
        ("dagmanager: {grpc_port: 7}", {"DAGMANAGER_GRPC_PORT": "9"}, "grpc_port", 9),
        ("dagmanager: {grpc_port: '${P}'}", {"P": "11"}, "grpc_port", 11),
        ("dagmanager: {neo4j_dsn: 'bolt://${H}:1'}", {"H": "db"}, "neo4j_dsn", "bolt://db:1"),
        ("dagmanager: {neo4j_dsn: null}", {}, "neo4j_dsn", ""),
        ("dagmanager:\n", {}, "http_port", 8001),
        ("profile: prod", {}, "grpc_host", "0.0.0.0"),
        ("profile: dev", {}, "grpc_host", "127.0.0.1"),
        ("", {"DAGMANAGER_PROFILE": "prod"}, "controlbus_queue_topic", ""),
        ("", {}, "controlbus_queue_topic", "queue"),
        ("", {"DAGMANAGER_ENABLE_TOPIC_NAMESPACE": "false"}, "enable_topic_namespace", False),
        ("", {"DAGMANAGER_LINEAGE_FIELDS": "meta.a, meta.b"}, "lineage_fields", ("meta.a", "meta.b")),
        ("", {"DAGMANAGER_TOPIC_TYPE_OVERRIDES": '{"X": "raw"}'}, "topic_type_overrides", {"X": "raw"}),
        ("", {"DAGMANAGER_GRPC_PORT": ""}, "grpc_port", 50051),
        ("gc_interval_seconds: 5", {}, "gc_interval_seconds", 5.0),
        ("a: &a {grpc_port: 5}\ndagmanager: {<<: *a}", {}, "grpc_port", 5),
        ("#" * 300_000 + "\ndagmanager: {grpc_port: 5}", {}, "grpc_port", 5),
    ],
)
def test_where_a_value_comes_from(text: str, environ: dict[str, str], field: str, expected: Any) -> None:
    settings, findings = resolve(source(text, **environ))
    assert getattr(settings, field) == expected
    # Without servers in prod: that is an error of its own (test_empty_servers).
    errors = {each.code for each in findings if each.level == "error"} - {FindingCode.HALF_EMBEDDED}
    assert errors == ({FindingCode.EMPTY_FIELD} if settings.profile == "prod" else set())


def test_a_table_keeps_the_defaults_that_it_does_not_name() -> None:
    text = "dagmanager:\n  gc_policies: {raw: {ttl_seconds: 1, grace_seconds: 0}, indicator: null}\n"
    policies = resolve(source(text))[0].gc_policies
    assert policies["raw"] == RetentionPolicy(1, 0)
    assert policies["indicator"] is None
    assert policies["sentinel"] == Settings().gc_policies["sentinel"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dagmanager:\n  grpc_prt: 1\n", [("error", "unknown_field", 2)]),
        ("dagmanager:\n  a: 1\n  grpc_port: x\n  http_port: 99999\n  neo4j_dsn: 5\n",
         [("warning", "unknown_field", 2), *(("error", "wrong_type", line) for line in (3, 4, 5))]),
        ("dagmanager:\n  kafka_dsn: a\n  kafka_dsn: b\n", [("error", "duplicate_key", 3)]),
        ("dagmanager:\n  kafka_dsn: ${GONE}\n", [("error", "unset_variable", 2)]),
        ("gateway: {x: '${GONE}', y: !FOO 1}\n", []),
        ("neo4j_dsn: x\ndagmanager: {}\n", [("warning", "outside_section", 1)]),
        ("dagmanger: {kafka_dsn: x}\n", [("error", "unknown_field", 1)]),
        ("profil: prod\ndagmanager: {}\n", [("error", "unknown_field", 1)]),
        ("profiles: {a: 1}\ndagmanager: {}\n", []),
        ("dagmanager: 5\n", [("error", "wrong_type", 1)]),
        ("profile: qa\n", [("error", "wrong_type", 1)]),
        ("[1, 2]\n", [("error", "invalid_yaml", 1)]),
        ("a: [\n", [("error", "invalid_yaml", 2)]),
        ("dagmanager: {kafka_dsn: !!python/object:os.system x}\n", [("error", "invalid_yaml", 1)]),
        ("dagmanager: {grpc_port: !!int x}\n", [("error", "invalid_yaml", 1)]),
        ("dagmanager:\n  kafka_options: &x {a: *x}\n", [("error", "invalid_yaml", 2)]),
        ("dagmanager:\n  lineage_fields: &x [*x]\n", [("error", "invalid_yaml", 2)]),
        ("dagmanager: &x\n  <<: *x\n", []),
        ("{" * 10_000, [("error", "invalid_yaml", 1)]),
        ("diffs_topic: a.b\ndead_letters_topic: a_b\n", [("error", "same_topic", 2)]),
        ("submissions_topic: 'no spaces'\n", [("error", "wrong_type", 1)]),
        ("topic_shapes:\n  raw: {partitions: 0, replication_factor: 1, retention_seconds: 1}\n",
         [("error", "wrong_type", 2)]),
        ("topic_shapes:\n  raw: {partitons: 1}\n", [("error", "wrong_type", 2)]),
    ],
)  # fmt: skip
def test_all_findings_at_once_with_their_lines(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert codes(text) == expected


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        ("{raww: {}}", "`topic_shapes.raww`: the keys are `raw`, `indicator`, `trade_exec`", "did you mean `raw`?"),
        ("{raw: {partitons: 1}}", "`topic_shapes.raw`: object contains unknown field `partitons`", ""),
        ("{raw: {partitions: 0, replication_factor: 1, retention_seconds: 1}}",
         "`topic_shapes.raw.partitions`: expected `int` >= 1", ""),
    ],
)  # fmt: skip
def test_an_invalid_entry_of_a_table_is_named(table: str, message: str, hint: str) -> None:
    [found] = [each for each in check(source(f"topic_shapes: {table}\n")) if each.level == "error"]
    assert found.message == message
    assert found.hint == hint or found.hint.startswith("for example `topic_shapes: {raw: ")


def test_an_invalid_entry_of_a_table_in_the_environment_is_named() -> None:
    found = check(source("", DAGMANAGER_TOPIC_SHAPES='{"raww": {}}'))[0]
    assert found.message.startswith("DAGMANAGER_TOPIC_SHAPES: `topic_shapes.raww`: the keys are")


def test_a_field_within_two_edits_of_a_known_one_is_an_error_with_the_right_word() -> None:
    text = "dagmanager:\n  kafka_dns: k:9092\n  neo4j_dsn: bolt://n\n"
    [finding] = [each for each in check(source(text)) if each.code not in OF_SERVERS]
    assert (finding.level, finding.code, finding.place()) == ("error", "unknown_field", "s.yml:2:3")
    assert finding.hint == "did you mean `kafka_dsn`?"
    with pytest.raises(SettingsError, match="DAGMANAGER_KAFKA_DNS"):
        load(None, {"DAGMANAGER_KAFKA_DNS": "k:9092"})


def test_strict_refuses_every_unknown_field() -> None:
    text = "dagmanager:\n  grpc_compression: 1\n"
    assert codes(text) == [("warning", "unknown_field", 2)]
    assert codes(text, strict=True) == [("error", "unknown_field", 2)]


@pytest.mark.parametrize("profile", ["dev", "prod"])
@pytest.mark.parametrize(
    ("given", "field"),
    [("neo4j_dsn: bolt://n", "neo4j_dsn"), ("kafka_dsn: k:9092", "kafka_dsn"),
     ("kafka_dsn: k:9092\nmemory_repo_path: g.sqlite", "kafka_dsn"), ("controlbus_dsn: k:9092", "controlbus_dsn")],
)  # fmt: skip
def test_one_server_without_the_other_is_refused(
    given: str, field: str, profile: str, tmp_path: Path
) -> None:
    path = tmp_path / "s.yml"
    path.write_text(f"profile: {profile}\n{given}\n")
    with pytest.raises(SettingsError):
        load(str(path), {})
    found = [each for each in check(source(path.read_text())) if each.code == "half_embedded"]
    # In prod each empty address is an error of its own.
    assert [(each.level, each.field, each.line) for each in found] == (
        [("error", field, 2)] if profile == "dev" else []
    )
    assert load(str(path), {}, offline=True)


def test_a_file_that_is_no_yaml_gives_one_finding() -> None:
    [finding] = check(source("profile: prod\ndagmanager:\n  kafka_dns: [\n", DAGMANAGER_GRPC_PORT="x"))
    assert (finding.code, finding.line) == ("invalid_yaml", 4)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("neo4j_dsn: 127.0.0.1:24412", "is not a Neo4j address: expected bolt://host:7687"),
        ("neo4j_dsn: bolt://me:geheim@db", "contains a user or a password"),
        ("neo4j_dsn: bolt://db:9092", "9092 is the port of Kafka"),
        ("kafka_dsn: kafka://host", "write host:9092 without kafka://"),
        ("kafka_dsn: a:9092,b:7687", "7687 is the port of Neo4j"),
        ("kafka_dsn: a:9092,me:geheim@b:9092", "is not an address of Kafka"),
        ("kafka_dsn: a:9092,,b:9092", "'' is not an address of Kafka"),
        ("kafka_dsn: a:99999", "ports are 1 to 65535"),
        ("controlbus_dsn: http://host:9092", "write host:9092 without http://"),
        ("submissions_topic: ..", "neither `.` nor `..`"),
        ("diffs_topic: a b", "letters, digits, `.`, `_` and `-`"),
        ("submissions_partitions: 3-1", "the smaller number comes first"),
        ("submissions_partitions: 2/2", "the first number is 0 to 1"),
        ("kafka_options: {security.protocoll: SSL}", "`kafka_options.security.protocoll`: the client library has no"),
        ("kafka_options: {security.protocol: geheim}", "`kafka_options.security.protocol`: the client library does not"),
        ("controlbus_options: {acks: 0}", "`controlbus_options.acks`: cannot be set"),
        ("claim_poll_seconds: .inf", "must be a number from 0.001 to 86400, not inf"),
        ("claim_lease_seconds: .nan", "must be a number from 0.001 to 86400, not nan"),
        ("claim_lease_seconds: 1.0e+9", "<= 86400"),
        ("kafka_delivery_seconds: 901", "<= 900"),
        ("submission_bytes_max: 9223372036854775807", "<= 62914560"),
        ("gc_policies: {raw: {ttl_seconds: 9223372036854775807, grace_seconds: 1}}", "`gc_policies.raw.ttl_seconds`"),
        ("topic_shapes: {raw: {partitions: 100001, replication_factor: 3, retention_seconds: 1}}", "<= 8000"),
        ("topic_shapes: {raw: {partitions: 3, replication_factor: 3, retention_seconds: 9223372036854776}}",
         "`topic_shapes.raw.retention_seconds`"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_work_is_refused_before_the_start(line: str, words: str) -> None:
    text = f"dagmanager:\n  {line}\n"
    found = [each for each in check(source(text)) if each.code not in OF_SERVERS]
    assert [(each.level, each.code, each.line) for each in found] == [("error", "wrong_type", 2)]
    assert words in found[0].message
    assert found[0].hint
    assert "geheim" not in repr(found)


@pytest.mark.parametrize(
    "line",
    [
        "kafka_dsn: 'a, b:9092'", "kafka_dsn: SASL_SSL://a:9093", "kafka_dsn: '[::1]:9092'", "kafka_dsn: my_host:19092",
        "neo4j_dsn: neo4j+s://db.example:7687", "neo4j_dsn: bolt://[::1]:7687", "submissions_partitions: 0-3, 6",
        "kafka_options: {sasl.mechanism: SCRAM-SHA-512, ssl.ca.location: /etc/ca.pem, enable.metrics.push: false}",
    ],
)  # fmt: skip
def test_a_value_that_may_work_is_not_refused(line: str) -> None:
    assert codes(f"dagmanager:\n  {line}\n") == []


def test_the_usual_options_exist_in_the_client_library() -> None:
    unknown = [each.option for each in option_problems(dict.fromkeys(USUAL, "")) if each.is_unknown]
    assert unknown == []
    [finding] = [
        each
        for each in check(source("kafka_options: {security.protocoll: SSL}"))
        if each.code == "wrong_type"
    ]
    assert finding.hint == "did you mean `security.protocol`?"


def test_unquoted_options_of_the_client_library_are_taken_as_written() -> None:
    text = (
        "kafka_options:\n  sasl.password: 0123456\n  sasl.username: 007\n  ssl.key.password: 1_000\n"
        "  client.rack: 12:30:45\n  ssl.keystore.password: 0x1F\n  client.id: 2020-01-01\n"
        "  socket.keepalive.enable: true\n  socket.timeout.ms: 30000\n  sasl.mechanism: PLAIN\n"
    )
    assert resolve(source(text))[0].kafka_options == {
        "sasl.password": "0123456",
        "sasl.username": "007",
        "ssl.key.password": "1_000",
        "client.rack": "12:30:45",
        "ssl.keystore.password": "0x1F",
        "client.id": "2020-01-01",
        "socket.keepalive.enable": "true",
        "socket.timeout.ms": "30000",
        "sasl.mechanism": "PLAIN",
    }
    given = '{"sasl.username": 1.50, "socket.keepalive.enable": true, "client.id": "me"}'
    assert resolve(source("", DAGMANAGER_KAFKA_OPTIONS=given))[0].kafka_options == {
        "sasl.username": "1.50",
        "socket.keepalive.enable": "true",
        "client.id": "me",
    }
    assert codes("kafka_options: {sasl.password: ~}\n") == [("error", "wrong_type", 1)]


@pytest.mark.parametrize(
    ("written", "environ", "expected"),
    [
        ("a${P}b", {"P": "x"}, "axb"),
        ("${P:-y}", {}, "y"),
        ("${P:-y}", {"P": ""}, "y"),
        ("${P-y}", {"P": ""}, ""),
        ("${P-y}", {}, "y"),
        ("${P:-}", {}, ""),
        ("${P:-a:-b}", {}, "a:-b"),
        ("p$${x}", {}, "p${x}"),
        ("$$$$", {}, "$$"),
        ("a$b$", {}, "a$b$"),
        ("${P}", {"P": "a${x}$$"}, "a${x}$$"),  # expanded once
    ],
)  # fmt: skip
def test_variables_are_expanded_as_people_know_it(
    written: str, environ: dict[str, str], expected: str
) -> None:
    assert resolve(source(f"neo4j_password: '{written}'", **environ))[0].neo4j_password == expected


@pytest.mark.parametrize("written", ["${}", "${x y}", "a${", "${P:?no}", "${P:-${Q}}"])
def test_a_variable_of_another_form_is_refused_and_not_repeated(written: str) -> None:
    text = f"neo4j_password: 'geheim{written}'\n"
    assert codes(text) == [("error", "unset_variable", 1)]
    assert "geheim" not in repr(check(source(text)))


def test_a_variable_in_an_option_keeps_the_other_options() -> None:
    text = "kafka_options: {sasl.password: '${GONE}', client.id: me}\n"
    settings, _ = resolve(source(text))
    assert settings.kafka_options == {"client.id": "me"}
    assert codes(text) == [("error", "unset_variable", 1)]


def test_variables_of_others_are_left_alone() -> None:
    assert codes("", DAGMANAGER_SERVICE_HOST="x", DAGMANAGER_CONFIG="y", DAGMANAGER_PORT_8001_TCP="z") == []
    assert [code for _, code, _ in codes("", DAGMANAGER_GRPC_PRT="1")] == ["unknown_field"]


@pytest.mark.parametrize(("profile", "level"), [("dev", "warning"), ("prod", "error")])
def test_empty_servers(profile: str, level: str) -> None:
    empty = "".join(f"{name}: ''\n" for name in REQUIRED)
    found = check(source(f"profile: {profile}\n{empty}"))
    assert [(each.field, each.level) for each in found] == [(name, level) for name in REQUIRED]
    assert check(source(f"profile: {profile}\n{PROD}")) == ()


def test_prod_does_not_start_and_names_each(tmp_path: Path) -> None:
    path = tmp_path / "s.yml"
    path.write_text("profile: prod\n")
    with pytest.raises(SettingsError) as caught:
        load(str(path), {})
    assert all(name in str(caught.value) for name in REQUIRED)
    assert load(str(path), {}, offline=True)[0].profile == "prod"
    assert find_source(None, {"DAGMANAGER_CONFIG": str(path)}).file == str(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "s.yml"
    if content:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"s\.yml"):
        load(str(path), {})


def test_secrets_are_never_shown() -> None:
    settings, findings = resolve(
        source("neo4j_password: [hunter2]\nneo4j_user: u\n", DAGMANAGER_NEO4J_PASSWORD="hunter2")
    )
    assert settings.neo4j_password == "hunter2"
    assert "hunter2" not in repr(settings) + repr(findings)


@pytest.mark.parametrize("profile", ["dev", "prod"])
def test_the_sample_validates_and_explains_every_field(profile: str) -> None:
    text = sample(profile)
    found = check(source(text), strict=True)
    assert [each for each in found if each.level == "error" or each.code != "empty_field"] == []
    lines = [line.strip().removeprefix("# ") for line in text.splitlines()]
    for row in fields():
        assert row.about.sentence.endswith("."), row.name
        assert row.about.sentence in lines, row.name
        assert any(line.startswith(f"{row.name}:") for line in lines), row.name


def test_every_line_of_the_sample_holds_when_uncommented() -> None:
    rows = [line.strip().removeprefix("# ") for line in sample("dev").splitlines()]
    names = tuple(f"{row.name}:" for row in fields())
    text = "dagmanager:\n" + "\n".join(f"  {line}" for line in rows if line.startswith(names))
    assert check(source(text, NEO4J_PASSWORD="x"), strict=True) == ()


def test_the_reference_names_every_field() -> None:
    assert all(f"| `{row.name}` |" in reference() for row in fields())


def test_settings_without_effect_are_marked_and_no_others() -> None:
    rooms = ("dagmanager", "flows", "operators", "sinks")
    sources = [
        path for room in rooms for path in (ROOT / room).rglob("*.py") if path.parent.name != "settings"
    ]
    words = set(re.findall(r"\w+", " ".join(path.read_text() for path in sources)))
    unread = {row.name for row in fields() if row.name not in words}
    # The collector's times and actions are read, and nothing collects yet.
    assert unread | {"gc_policies"} == {row.name for row in fields() if row.about.not_yet}
    for row in fields():
        assert not row.about.not_yet or row.about.not_yet in reference(), row.name
        assert not row.about.not_yet or row.about.not_yet in sample("dev"), row.name


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        ("profile: dev\n", [], 0),
        ("profile: prod\n", [], 2),
        (f"profile: prod\n{PROD}", [], 0),
        ("dagmanager: {grpc_compression: 1}\n", [], 0),
        ("dagmanager: {grpc_compression: 1}\n", ["--strict"], 2),
        ("dagmanager: {grpc_prt: 1}\n", [], 2),
        ("dagmanager: {\n", [], 2),
    ],
)
def test_config_validate(text: str, words: list[str], code: int, tmp_path: Path) -> None:
    path = tmp_path / "s.yml"
    path.write_text(text)
    done = call("config", "validate", "--config", str(path), *words)
    assert (done.code, done.err) == (code, "")
    shown = call("config", "validate", "--config", str(path), "--json", *words)
    verdict = json.loads(shown.out)
    assert (shown.code, verdict["ok"]) == (code, code == 0)
    assert len(verdict["findings"]) == done.out.count("error[") + done.out.count("warning[")
