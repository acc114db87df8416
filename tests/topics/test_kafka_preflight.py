"""The check of brokers and own topics before the flow runs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from dagmanager.engine.wire.chunks import MAX_BYTES
from dagmanager.errors import SettingsError, UnavailableError
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import BATCH_BYTES, KafkaAddress
from dagmanager.settings.table import Settings
from dagmanager.topics.kafka_preflight import OwnTopic, TopicRequirements, check_topics, own_topics
from tests.kafka.topics import NOWHERE, make
from tests.waiting import TIMEOUT_S, until

DAY_MS = 86_400_000
MIB = 1024 * 1024
TOPIC_SETTINGS = [name for name in Settings.__struct_fields__ if name.endswith("_topic")]


def submissions(topic: str) -> OwnTopic:
    return own_topics({"submissions_topic": topic}, 8 * MIB)[0]


def diffs(topic: str) -> OwnTopic:
    return own_topics({"diffs_topic": topic}, 8 * MIB)[0]


@pytest.fixture
def admin(kafka: str) -> KafkaAdmin:
    return KafkaAdmin(KafkaAddress(kafka, request_s=TIMEOUT_S))


def until_known(admin: KafkaAdmin, own: Sequence[OwnTopic]) -> None:
    """A busy broker may describe a topic only some time after it was created."""
    topics = {each.topic for each in own}
    until(lambda: admin.describe(sorted(topics)).keys() == topics)


def test_missing_topics_are_created_suitable_and_only_once(
    admin: KafkaAdmin, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    wanted = [submissions(f"{topic_prefix}in"), diffs(f"{topic_prefix}out")]
    first = check_topics(admin, wanted, replication=3, create=True)
    assert (first.brokers, set(first.created)) == (1, {own.topic for own in wanted})
    until_known(admin, wanted)
    again = check_topics(admin, wanted, replication=3, create=True)
    assert (again.created, again.warnings) == ((), ())
    assert check_topics(admin, wanted, replication=3, create=False).warnings == ()
    config = admin.configs([wanted[0].topic])[wanted[0].topic]
    assert (config["cleanup.policy"], config["retention.ms"]) == ("delete", str(7 * DAY_MS))
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert int(config["max.message.bytes"]) > 8 * MIB
    assert admin.describe([wanted[0].topic])[wanted[0].topic].partitions == 8


def test_a_missing_topic_is_an_error_where_none_may_be_created(
    admin: KafkaAdmin, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    wanted = [submissions(f"{topic_prefix}in"), diffs(f"{topic_prefix}out")]
    with pytest.raises(SettingsError) as caught:
        check_topics(admin, wanted, replication=1, create=False)
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["submissions_topic", "diffs_topic"]
    assert all("is missing: create it with `dagmanager init`" in line for line in lines)
    assert admin.describe([own.topic for own in wanted]) == {}


def test_an_existing_topic_of_nearly_the_same_name_is_named(
    admin: KafkaAdmin, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    right, wrong = f"{topic_prefix}submissions", f"{topic_prefix}submisions"
    make(kafka_admin, right, 1)
    with pytest.raises(SettingsError, match=f"topic {wrong} is missing, but {right} exists: name that one"):
        check_topics(admin, [submissions(wrong)], replication=1, create=False)
    created = check_topics(admin, [submissions(wrong)], replication=1, create=True)
    assert created.created == (wrong,)
    assert f"topic {wrong} was created although {right} exists: is the name right?" in created.warnings[0]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cleanup_policy": "compact"}, "cleanup.policy compact; it must be delete"),
        ({"max_message_bytes": "1048588"}, "accepts records of 1048588 bytes, 8388608 are needed"),
        ({"retention_ms": "60000"}, "keeps records for 60000 ms, 86400000 ms are needed"),
    ],
)
def test_an_unsuitable_topic_is_an_error_and_left_unchanged(
    admin: KafkaAdmin, kafka_admin: AdminClient, topic_prefix: str, config: dict[str, str], words: str
) -> None:
    good = {"max_message_bytes": str(9 * MIB), "message_timestamp_type": "LogAppendTime"}
    topic = make(kafka_admin, f"{topic_prefix}in", 1, **(good | config))
    before = admin.configs([topic])
    for create in (True, False):
        with pytest.raises(SettingsError) as caught:
            check_topics(admin, [submissions(topic)], replication=1, create=create)
        assert words in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    assert admin.configs([topic]) == before


def test_a_diffs_topic_must_accept_a_whole_chunk_with_key_and_headers(
    admin: KafkaAdmin, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}out", 1, max_message_bytes="900000")
    with pytest.raises(SettingsError) as caught:
        check_topics(admin, [diffs(topic)], replication=1, create=False)
    assert str(caught.value) == (
        f"diffs_topic: topic {topic} accepts records of 900000 bytes, 932768 are needed: raise its max.message.bytes"
    )
    usual = make(kafka_admin, f"{topic_prefix}usual", 1, max_message_bytes="1048588")
    check_topics(admin, [diffs(usual)], replication=1, create=False)


def test_producers_timestamps_are_a_warning(
    admin: KafkaAdmin, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}in", max_message_bytes=str(9 * MIB), retention_ms="-1")
    [warning] = check_topics(admin, [submissions(topic)], replication=1, create=False).warnings
    assert "LogAppendTime" in warning
    plain = OwnTopic("x", topic, msgspec.structs.replace(submissions(topic).shape, broker_time=False))
    assert check_topics(admin, [plain], replication=1, create=False).warnings == ()


def test_every_topic_that_a_setting_names_has_a_shape_and_empty_ones_are_left_out(
    admin: KafkaAdmin, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    wanted = own_topics({name: topic_prefix + name for name in TOPIC_SETTINGS}, 8 * MIB)
    assert [own.setting for own in wanted] == TOPIC_SETTINGS
    assert own_topics(dict.fromkeys(TOPIC_SETTINGS, ""), 8 * MIB) == ()
    made = check_topics(admin, wanted, replication=1, create=True)
    assert len(made.created) == len(TOPIC_SETTINGS)
    until_known(admin, wanted)
    assert check_topics(admin, wanted, replication=1, create=False).warnings == ()


def test_a_compacted_control_bus_is_a_warning(
    admin: KafkaAdmin, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}queue", cleanup_policy="compact")
    own = OwnTopic("controlbus_queue_topic", topic, TopicRequirements(1000, -1, compactable=True))
    [warning] = check_topics(admin, [own], replication=1, create=False).warnings
    assert f"controlbus_queue_topic: topic {topic} has cleanup.policy compact" in warning


def test_an_impossible_topic_name_is_a_settings_error(admin: KafkaAdmin) -> None:
    with pytest.raises(SettingsError, match="submissions_topic"):
        check_topics(admin, [submissions("a b")], replication=1, create=True)


def test_no_broker_is_unavailable_and_found_soon() -> None:
    nowhere = KafkaAdmin(KafkaAddress(NOWHERE, request_s=2.0))
    with pytest.raises(UnavailableError, match="refused"):
        check_topics(nowhere, [submissions("t")], replication=1, create=True)


def test_failed_authentication_is_no_outage(kafka: str) -> None:
    options = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    options |= {"sasl.username": "u", "sasl.password": "p"}
    admin = KafkaAdmin(KafkaAddress(kafka, options, request_s=2.0))
    with pytest.raises(SettingsError, match="check the credentials"):
        check_topics(admin, [submissions("t")], replication=1, create=True)


def test_a_batch_on_the_wire_fits_into_every_own_topic() -> None:
    """Otherwise the broker rejects the whole batch and its records go one by one: a second for a thousand."""
    own = own_topics({name: name for name in TOPIC_SETTINGS}, 8 * MIB)
    assert [each.topic for each in own if each.shape.value_bytes < BATCH_BYTES] == []
    [diffs] = own_topics({"diffs_topic": "diffs_topic"}, 8 * MIB)
    assert diffs.shape.value_bytes >= MAX_BYTES
