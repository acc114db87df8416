"""The submissions flow on a real broker: every topic read and written as production does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import orjson
import pytest
from bytewax.testing import run_main
from confluent_kafka.admin import AdminClient

from dagmanager.assembly import Assembled, assemble_over
from dagmanager.connect import ignore
from dagmanager.dag.model import Origin, Record, Submission
from dagmanager.engine.model.admin_log_port import AdminEntry
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.settings.table import Settings
from dagmanager.topics.kafka import KafkaTopics
from dagmanager.topics.kafka_admin_log import KafkaAdminLog
from dagmanager.topics.kafka_events import KafkaEvents
from dagmanager.topics.kafka_preflight import check_topics, own_topics
from examples.submissions import first_submissions, second_version
from flows.recovery import Reading, prepared
from flows.submissions import Sinks, build
from operators.sources.submission_topic import SubmissionsAt, SubmissionTopic
from operators.steps.messages import diff_messages_of
from servers.records import records
from sinks.dead_letters import dead_letter_topic
from sinks.diff_chunks import diff_chunk_topic
from sinks.queue_events import QueueEventsSink
from tests.chunk_reader import merge
from tests.flows.crashing import START_MS, Clock, World, impatient
from tests.kafka.topics import fill, make

Answers = dict[tuple[str, str], tuple[str, dict[str, str]]]
KEY = b"some-client"
SETTINGS = (
    "diffs_topic",
    "dead_letters_topic",
    "admin_log_topic",
    "controlbus_queue_topic",
    "controlbus_sentinel_topic",
)


class Site:
    """One deployment on the session's broker; its world's name keeps its topics apart."""

    def __init__(self, servers: str, prefix: str) -> None:
        self.address = KafkaAddress(servers)
        self.prefix = prefix
        self.topics = {name: f"{prefix}{name}" for name in SETTINGS}
        self.submissions = f"{prefix}submissions"
        self.graph = MemoryGraph(Clock())
        self.producer = KafkaProducer(self.address)
        check_topics(KafkaAdmin(self.address), own_topics(self.topics, 8 * 1024 * 1024), 1, create=True)

    def given(self) -> list[bytes | None]:
        """Real strategies, each in this test's own world, and two records that are none."""
        world = {"world_id": self.prefix.removesuffix(".")}
        real = [orjson.dumps(orjson.loads(each) | world) for each in [*first_submissions(), second_version()]]
        return [*real[:-1], b"no json", None, real[-1]]

    def assembled(self) -> Assembled:
        channels = {
            "queue": self.topics["controlbus_queue_topic"],
            "sentinel_weight": self.topics["controlbus_sentinel_topic"],
        }
        return assemble_over(
            Settings(),
            self.graph,
            KafkaTopics(KafkaAdmin(self.address)),
            KafkaEvents(self.producer, channels, ignore),
            KafkaAdminLog(self.producer, self.topics["admin_log_topic"]),
        )

    def run(self, upto: int, recovery: Path) -> None:
        """A process of its own, as far as it matters: reads up to an offset, then drains."""

        def stopping() -> bool:
            return any((each.position or 0) >= upto for each in source.progress().partitions)

        source = SubmissionTopic(SubmissionsAt(self.address, self.submissions, batch_records=3), stopping)
        assembled, retry = self.assembled(), impatient()
        sinks = Sinks(
            diff_chunk_topic(self.topics["diffs_topic"], self.producer, retry),
            dead_letter_topic(self.topics["dead_letters_topic"], self.producer, retry),
            QueueEventsSink(assembled.engine.publish),
        )
        flow = build(assembled, source, sinks, retry)
        with prepared(recovery, flow, Reading(self.submissions)) as config:
            run_main(flow, epoch_interval=timedelta(0), recovery_config=config)

    def values(self, setting: str) -> list[bytes]:
        found = records(self.address.servers, self.topics[setting])
        return [message.value() or b"" for message in found]


def answers(records: Sequence[bytes]) -> Answers:
    """What was answered to each submission, whatever order the partitions have."""
    by_id: dict[str, list[bytes]] = {}
    for record in records:
        by_id.setdefault(orjson.loads(record)["submission_id"], []).append(record)
    whole = [merged for chunks in by_id.values() if (merged := merge(chunks)) is not None]
    return {
        (each["strategy_id"], each["submission_digest"]): (each["status"], each["queue_map"])
        for each in whole
    }


def in_memory(site: Site) -> Answers:
    """The same submissions, one by one, without a broker."""
    world = World()
    assembled = assemble_over(Settings(), world.graph, world.topics, world.events, world.admin_log)
    reader = assembled.reader()
    found: list[bytes] = []
    for at, value in enumerate(site.given()):
        record = Record(value or b"", Origin("memory", position=at), KEY, START_MS + at)
        for item in reader.read(record):
            answer = assembled.engine.submit([item])[0] if isinstance(item, Submission) else item
            found += [message.value for message in diff_messages_of(answer)]
    return answers(found)


@pytest.fixture
def site(kafka: str, kafka_admin: AdminClient, topic_prefix: str) -> Site:
    found = Site(kafka, topic_prefix)
    make(kafka_admin, found.submissions, 1, max_message_bytes=str(10 * 1024 * 1024))
    return found


def test_real_strategies_are_answered_on_real_topics_as_in_memory(site: Site, tmp_path: Path) -> None:
    given = site.given()
    fill(site.address.servers, site.submissions, given, key=KEY)
    site.run(4, tmp_path / "recovery")
    site.run(len(given), tmp_path / "recovery")
    found = answers(site.values("diffs_topic"))
    assert found == in_memory(site)
    named = {topic for _, queues in found.values() for topic in queues.values()}
    assert named
    assert all(topic.startswith(site.prefix) for topic in named)
    assert all(info.ready for info in KafkaAdmin(site.address).describe(sorted(named)).values())


def test_creations_events_and_refusals_are_on_their_topics(site: Site, tmp_path: Path) -> None:
    given = site.given()
    fill(site.address.servers, site.submissions, given, key=KEY)
    site.run(len(given), tmp_path / "recovery")
    made = [msgspec.json.decode(value, type=AdminEntry) for value in site.values("admin_log_topic")]
    described = KafkaAdmin(site.address).describe([entry.topic for entry in made])
    assert {entry.topic: entry.topic_id for entry in made} == {
        topic: info.topic_id for topic, info in described.items()
    }
    announced = [orjson.loads(value)["data"] for value in site.values("controlbus_queue_topic")]
    listed = {
        each["queue"] for data in announced if data["type"] == "QueueUpdated" for each in data["queues"]
    }
    assert listed <= set(described)
    assert listed
    assert site.values("dead_letters_topic") == [b"no json", b""]
