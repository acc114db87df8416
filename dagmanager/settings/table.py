"""Every setting: type, default, description and rules of the profiles.

The class `Settings` is the table: `config sample`, `config validate` and docs/settings.md are generated from it.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from dagmanager.engine.model.rows import PARTITIONS_MAX, REPLICAS_MAX, RETENTION_MS_MAX

DAY: Final = 86_400

TopicType = Literal["raw", "indicator", "trade_exec"]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Partitions = Annotated[int, Meta(ge=1, le=PARTITIONS_MAX)]
Replicas = Annotated[int, Meta(ge=1, le=REPLICAS_MAX)]
LongSeconds = Annotated[int, Meta(ge=1, le=RETENTION_MS_MAX // 1000)]
ZeroOrLongSeconds = Annotated[int, Meta(ge=0, le=RETENTION_MS_MAX // 1000)]
# In milliseconds it must be at least 1, and a day between two polls or leases is more than a process can usefully wait.
Seconds = Annotated[float, Meta(ge=0.001, le=DAY)]
# The client library takes at most 900,000 ms.
KafkaSeconds = Annotated[float, Meta(ge=0.01, le=900)]
# 60 MiB: a dead letter has the whole record, and a producer sends at most 64 MiB.
RecordBytes = Annotated[int, Meta(ge=1, le=60 * 1024 * 1024)]
Nodes = Annotated[int, Meta(ge=1, le=1_000_000)]
# Kafka refuses `.` and `..`.
TopicName = Annotated[str, Meta(pattern=r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$")]
OptionalTopicName = Annotated[str, Meta(pattern=r"^(?!\.{1,2}$)[A-Za-z0-9._-]{0,249}$")]


class About(typing.NamedTuple):
    """What a field is for. `prod_default` replaces the default in profile prod; None means the same default.

    `not_yet` says what is missing where a setting is read and checked but has no effect, or not all of it.
    """

    group: str
    sentence: str
    required_in_prod: bool = False
    prod_default: str | None = None
    secret: bool = False
    example: str = ""
    not_yet: str = ""


NO_SERVER: Final = "Not yet: there is no server, the setting has no effect."
NO_COLLECTOR: Final = "Not yet: nothing is collected, the setting has no effect."


class TopicShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How topics of one type are created (docs/requirements.md T-2)."""

    partitions: Partitions
    replication_factor: Replicas
    retention_seconds: LongSeconds


class RetentionPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an unreferenced queue may be collected: after `ttl_seconds` + `grace_seconds`. Not yet: nothing is."""

    ttl_seconds: LongSeconds
    grace_seconds: ZeroOrLongSeconds
    action: Literal["delete", "archive"] = "delete"


def _topic_shapes() -> dict[TopicType, TopicShape]:
    return {
        "raw": TopicShape(3, 3, 7 * DAY),
        "indicator": TopicShape(1, 2, 30 * DAY),
        "trade_exec": TopicShape(1, 3, 90 * DAY),
    }


def _gc_policies() -> dict[str, RetentionPolicy | None]:
    return {
        "raw": RetentionPolicy(7 * DAY, DAY),
        "indicator": RetentionPolicy(30 * DAY, 3 * DAY),
        "sentinel": RetentionPolicy(180 * DAY, 30 * DAY, "archive"),
    }


# fmt: off
class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set (docs/semantics.md 11). Units are the last word of a name."""

    profile: Annotated[Literal["dev", "prod"], About("Profile", "How strict to be: `dev` works in memory when no server is set and creates missing topics and constraints; `prod` refuses to start instead. At the top of the file.")] = "dev"

    neo4j_dsn: Annotated[str, About("Graph", "Address of Neo4j; empty keeps the graph in memory. Set both `neo4j_dsn` and `kafka_dsn`, or neither.", required_in_prod=True, example="bolt://localhost:7687")] = ""
    neo4j_user: Annotated[str, About("Graph", "User name for Neo4j.")] = "neo4j"
    neo4j_password: Annotated[str, About("Graph", "Password for Neo4j; give it as `${NAME}`, so that it is not in the file.", secret=True, example="${NEO4J_PASSWORD}")] = "neo4j"
    neo4j_database: Annotated[str, About("Graph", "Name of the database on the server; empty means the server's default.")] = ""
    memory_repo_path: Annotated[str, About("Graph", "SQLite file for the graph of a run without Neo4j; empty keeps the graph in memory only, it is lost at the end.", example="dagmanager.sqlite")] = ""

    kafka_dsn: Annotated[str, About("Kafka", "Bootstrap servers of Kafka, separated by commas; empty keeps topics in memory. Set both `neo4j_dsn` and `kafka_dsn`, or neither.", required_in_prod=True, example="localhost:9092")] = ""
    kafka_options: Annotated[Mapping[str, str], About("Kafka", "Further options of the client library (librdkafka), such as `security.protocol`, `ssl.ca.location` and `sasl.*`; give passwords as `${NAME}`.", secret=True, example="{security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-512, sasl.username: dagmanager}")] = msgspec.field(default_factory=dict)
    kafka_request_seconds: Annotated[KafkaSeconds, About("Kafka", "Seconds after which an unanswered request about topics is repeated.")] = 5.0
    kafka_delivery_seconds: Annotated[KafkaSeconds, About("Kafka", "Seconds after which an unacknowledged record is written again.")] = 10.0
    kafka_metrics_url: Annotated[str, About("Kafka", "Prometheus address with the brokers' metrics; the collector halves its batches while brokers are busy.", not_yet=NO_COLLECTOR, example="http://localhost:9090")] = ""
    submissions_topic: Annotated[TopicName, About("Kafka", "Topic from which submissions are read.")] = "dagmanager.submissions"
    submissions_partitions: Annotated[str, About("Kafka", "Partitions that this process reads: empty for all, `0-3,6` for these, `0/2` for every second one from 0.", example="0/2")] = ""
    diffs_topic: Annotated[TopicName, About("Kafka", "Topic to which answers are written.")] = "dagmanager.diffs"
    dead_letters_topic: Annotated[TopicName, About("Kafka", "Topic to which refused submissions are written, with their original bytes.")] = "dagmanager.dead-letters"
    admin_log_topic: Annotated[TopicName, About("Kafka", "Topic with an entry for each creation and each loss of a topic.")] = "dagmanager.admin-log"
    submissions_path: Annotated[str, About("Kafka", "File, folder or `-` (standard input) to read submissions from, without Kafka.")] = "-"
    results_path: Annotated[str, About("Kafka", "Folder for answers, dead letters, events and the admin log, without Kafka.")] = "results"

    controlbus_dsn: Annotated[str, About("ControlBus", "Bootstrap servers of the ControlBus, often those of Kafka; empty turns control events off. Needs `neo4j_dsn` and `kafka_dsn`.", required_in_prod=True, example="localhost:9092")] = ""
    controlbus_options: Annotated[Mapping[str, str], About("ControlBus", "Further options of the client library for the ControlBus; empty means `kafka_options`.", secret=True, example="{security.protocol: SSL}")] = msgspec.field(default_factory=dict)
    controlbus_delivery_seconds: Annotated[KafkaSeconds, About("ControlBus", "Seconds after which an unacknowledged event is published again. Graph transactions may last three times as long, and at least 60 s.")] = 5.0
    controlbus_queue_topic: Annotated[OptionalTopicName, About("ControlBus", "Topic of queue events; empty turns them off.", required_in_prod=True, prod_default="")] = "queue"
    controlbus_sentinel_topic: Annotated[TopicName, About("ControlBus", "Topic of traffic weight events.")] = "sentinel_weight"

    grpc_host: Annotated[str, About("Server", "Address on which the gRPC server listens; loopback in dev.", not_yet=NO_SERVER, prod_default="0.0.0.0")] = "127.0.0.1"
    grpc_port: Annotated[Port, About("Server", "Port of the gRPC server.", not_yet=NO_SERVER)] = 50051
    http_host: Annotated[str, About("Server", "Address on which the HTTP server listens; loopback in dev.", not_yet=NO_SERVER, prod_default="0.0.0.0")] = "127.0.0.1"
    http_port: Annotated[Port, About("Server", "Port of the HTTP server.", not_yet=NO_SERVER)] = 8001

    enable_topic_namespace: Annotated[bool, About("Topics", "Begins topic names with `{world_id}.{execution_domain}.`, as clients do.")] = True
    topic_type_overrides: Annotated[Mapping[str, TopicType], About("Topics", "Topic type by node_type, where the rule based on the name of the node_type does not fit.", example="{FundingRateNode: raw}")] = msgspec.field(default_factory=dict)
    topic_shapes: Annotated[Mapping[TopicType, TopicShape], About("Topics", "Partitions, replication and retention by topic type; types left out keep their default.", example="{raw: {partitions: 6, replication_factor: 3, retention_seconds: 604800}}")] = msgspec.field(default_factory=_topic_shapes)

    submission_bytes_max: Annotated[RecordBytes, About("Submissions", "Largest submission accepted, in bytes; Kafka and gRPC limits follow it.")] = 8 * 1024 * 1024
    submission_nodes_max: Annotated[Nodes, About("Submissions", "Most nodes accepted in one submission.")] = 20_000
    submission_depth_max: Annotated[Annotated[int, Meta(ge=4, le=190)], About("Submissions", "Deepest nesting of JSON accepted in a submission.")] = 64
    lineage_fields: Annotated[tuple[str, ...], About("Submissions", "Fields with the name of the lineage, in order of preference; the strategy_id when all are empty.")] = ("meta.strategy_name", "meta.name")
    strict_dependencies: Annotated[bool, About("Submissions", "Refuses submissions with dependencies that are neither in the DAG nor in the graph, instead of a warning.")] = False
    dry_run_strategy_ids: Annotated[tuple[str, ...], About("Submissions", "Strategy ids that are planned and answered but never written.")] = ("dryrun",)
    safe_mode_max_topics: Annotated[Annotated[int, Meta(ge=0, le=1_000_000)], About("Submissions", "Largest number of topics of isolated (safe mode) submissions at one time.")] = 2_000
    claim_lease_seconds: Annotated[Seconds, About("Submissions", "Seconds without renewal after which another process may take a claim over.")] = 10.0
    claim_poll_seconds: Annotated[Seconds, About("Submissions", "Seconds between two looks for claims whose lease has ended.")] = 5.0

    gc_interval_seconds: Annotated[Annotated[float, Meta(ge=0.001, le=366 * DAY)], About("Collection", "Seconds between two runs of the collector.", not_yet=NO_COLLECTOR)] = 60.0
    gc_archive_bucket: Annotated[str, About("Collection", "S3 bucket into which topics are archived before deletion; without it those topics are kept.", not_yet=NO_COLLECTOR, example="qmtl-archive")] = ""
    gc_policies: Annotated[Mapping[str, RetentionPolicy | None], About("Collection", "When unreferenced queues are collected, by tag; tags left out keep their default, `null` keeps the queues.", not_yet="Not yet: `ttl_seconds` is stored with queues, nothing is collected.", example="{raw: {ttl_seconds: 604800, grace_seconds: 86400, action: delete}}")] = msgspec.field(default_factory=_gc_policies)
# fmt: on

    def __repr__(self) -> str:
        """All fields, secrets hidden: settings end up in logs."""
        shown = (f"{f.name}={'***' if f.about.secret else repr(getattr(self, f.name))}" for f in fields())
        return f"Settings({', '.join(shown)})"


class Field(msgspec.Struct, frozen=True):
    """One setting. `kind` is its type in words."""

    name: str
    type: Any
    about: About
    default: Any
    kind: str

    def default_in(self, profile: str) -> Any:
        """The default under a profile."""
        if profile == "prod" and self.about.prod_default is not None:
            return self.about.prod_default
        return self.default


@cache
def fields() -> tuple[Field, ...]:
    """All settings, in the order of the class."""
    hints = typing.get_type_hints(Settings, include_extras=True)
    rows: list[Field] = []
    for row in msgspec.structs.fields(Settings):
        about = next(part for part in hints[row.name].__metadata__ if isinstance(part, About))
        factory = row.default_factory
        default = row.default if factory is msgspec.NODEFAULT else factory()
        rows.append(Field(row.name, hints[row.name], about, default, _kind(hints[row.name])))
    return tuple(rows)


def bare_type(kind: Any) -> Any:
    """A type without its annotations."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


_KINDS: Final[dict[Any, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
    Mapping: "a table",
}


def _kind(hint: Any) -> str:
    bare = bare_type(hint)
    origin = typing.get_origin(bare)
    if origin is Literal:
        return " or ".join(typing.get_args(bare))
    return _KINDS[origin or bare] + _range(hint)


def _range(hint: Any) -> str:
    """` from 1 to 8000`, as far as the type has limits."""
    limits = next((part for part in hint.__metadata__ if isinstance(part, Meta)), None)
    if limits is None or limits.ge is None:
        return ""
    return f" from {limits.ge:g} to {limits.le}" if limits.le is not None else f" from {limits.ge:g}"
