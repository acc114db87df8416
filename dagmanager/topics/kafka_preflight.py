"""The check before a process starts: are brokers up, and do the product's own topics exist with suitable configs?

Missing topics are created where that is allowed (profile dev, `init`), and are an error elsewhere. An existing topic is
never changed: its problems are reported.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from itertools import islice
from typing import Final

import msgspec
from confluent_kafka import KafkaError

from dagmanager.backoff import Backoff
from dagmanager.edit_distance import misspelt
from dagmanager.engine.model.policy import DAY_MS
from dagmanager.engine.model.topics_port import TopicInfo
from dagmanager.engine.wire.chunks import MAX_BYTES
from dagmanager.engine.wire.refusals import DEAD_LETTER_BYTES
from dagmanager.errors import SettingsError, UnavailableError
from dagmanager.kafka.admin import AdminRequest, KafkaAdmin

# A broker that has just come back may not know an existing topic yet: describe again before calling it missing.
DESCRIBE_RETRIES: Final = 3
PREFLIGHT_BACKOFF: Final = Backoff(first_s=0.5, factor=2, longest_s=2, jitter=0.5)
WEEK_MS: Final = 7 * DAY_MS
# One worker reads eight partitions easily, and up to eight workers can share them later.
TOPIC_PARTITIONS: Final = 8
# Room in a record beside its value: key, headers, and the batch around it.
ENVELOPE_BYTES: Final = 128 * 1024
# The same for a chunk, whose key is bounded: small enough for Kafka's default max.message.bytes.
CHUNK_ENVELOPE_BYTES: Final = 32 * 1024
_MESSAGE_BYTES: Final = "max.message.bytes"
_RETENTION: Final = "retention.ms"
_POLICY: Final = "cleanup.policy"
_TIME: Final = "message.timestamp.type"
_IN_SYNC: Final = "min.insync.replicas"
_FOR_EVER: Final = -1
_NO_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"


class TopicRequirements(msgspec.Struct, frozen=True):
    """What one of the product's own topics must be like, and how it is created.

    An existing topic must accept values of `value_bytes` and keep records for `retention_ms_min`. A new one is created for
    values of `created_bytes` if that is more, and with `retention_ms` (< 0: for ever). `broker_time`: records should carry
    the broker's clock (LogAppendTime). `compactable`: compaction is a warning instead of an error.
    """

    value_bytes: int
    retention_ms: int
    retention_ms_min: int = 0
    partitions: int = 1
    created_bytes: int = 0
    broker_time: bool = False
    compactable: bool = False


class OwnTopic(msgspec.Struct, frozen=True):
    """One of the product's own topics; `setting` is the settings field that names it."""

    setting: str
    topic: str
    shape: TopicRequirements


def own_topics(names: Mapping[str, str], submission_bytes: int) -> tuple[OwnTopic, ...]:
    """The own topics for these settings (setting → topic name), in order; empty names are left out.

    `submission_bytes` is the largest submission in bytes.
    """
    events = TopicRequirements(MAX_BYTES, WEEK_MS, created_bytes=submission_bytes, compactable=True)
    shapes = {
        # Unread records must outlive an outage: a day at least.
        "submissions_topic": TopicRequirements(
            submission_bytes, WEEK_MS, retention_ms_min=DAY_MS, partitions=TOPIC_PARTITIONS, broker_time=True
        ),
        "diffs_topic": TopicRequirements(
            MAX_BYTES + CHUNK_ENVELOPE_BYTES, WEEK_MS, partitions=TOPIC_PARTITIONS
        ),
        # A dead letter that does not fit is truncated, so that less is enough.
        "dead_letters_topic": TopicRequirements(
            DEAD_LETTER_BYTES, 30 * DAY_MS, created_bytes=submission_bytes
        ),
        "admin_log_topic": TopicRequirements(DEAD_LETTER_BYTES, _FOR_EVER),
        "controlbus_queue_topic": events,
        "controlbus_sentinel_topic": events,
    }
    return tuple(OwnTopic(setting, topic, shapes[setting]) for setting, topic in names.items() if topic)


class TopicsCheck(msgspec.Struct, frozen=True):
    """The result of a check without errors: how many brokers are up, topics created, and warnings for the log."""

    brokers: int
    created: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check_topics(
    admin: KafkaAdmin, wanted: Sequence[OwnTopic], replication: int, create: bool
) -> TopicsCheck:
    """Check all topics, and with `create` create missing ones. Idempotent.

    Blocks for a few requests of `request_s` each. New topics get `replication` replicas, or as many as brokers are up if there
    are not enough (a broker that is down counts: it gets its replicas when it is back).
    Raises `UnavailableError` when no broker answers; `SettingsError`, with one line per problem, when the brokers reject the
    client, or a topic is missing or unsuitable.
    """
    with _rejected_clients(admin):
        brokers = admin.brokers()
        found = _found(admin, [own.topic for own in wanted], patient=not create)
        missing = [own for own in wanted if own.topic not in found]
        created = _created(admin, missing, replication, brokers) if create else ()
        configs = admin.configs([own.topic for own in wanted if own not in missing])
    near = _near(admin, missing, {own.topic for own in wanted})
    errors = [] if create else [_is_missing(own, near.get(own.topic)) for own in missing]
    warnings = [
        f"{own.setting}: topic {own.topic} was created although {near[own.topic]} exists: is the name right?"
        for own in missing
        if own.topic in near and own.topic in created
    ]
    for own in wanted:
        if own.topic in found and own.topic in configs:
            more, less = config_problems(own, found[own.topic], configs[own.topic])
            errors += more
            warnings += less
    if errors:
        raise SettingsError("\n".join(errors))
    return TopicsCheck(brokers, created, tuple(warnings))


def count_brokers(admin: KafkaAdmin) -> int:
    """How many brokers are up. Blocks for one request; raises `UnavailableError`, or `SettingsError` when the brokers
    reject the client."""
    with _rejected_clients(admin):
        return admin.brokers()


@contextmanager
def _rejected_clients(admin: KafkaAdmin) -> Iterator[None]:
    """`SettingsError` where brokers that reject the client look like an outage."""
    try:
        yield
    except UnavailableError as error:
        if admin.connection_errors.is_forbidden():
            raise SettingsError(f"{admin.address.setting}: {error}") from error
        raise


def require_topic(admin: KafkaAdmin, own: OwnTopic) -> TopicInfo:
    """An own topic that must exist, for commands that only read it. Creates nothing; raises as `check_topics`."""
    try:
        found = _found(admin, [own.topic], patient=True)
    except UnavailableError as error:
        if admin.connection_errors.is_forbidden():
            raise SettingsError(str(error)) from error
        raise
    if own.topic not in found:
        raise SettingsError(_is_missing(own, _near(admin, [own], {own.topic}).get(own.topic)))
    return found[own.topic]


def _near(admin: KafkaAdmin, missing: Sequence[OwnTopic], own: Set[str]) -> dict[str, str]:
    """For each missing topic the existing one that differs in one or two characters, if any: often the name is misspelt."""
    names = [name for name in admin.names() if name not in own] if missing else []
    found = ((each.topic, misspelt(each.topic, names)) for each in missing)
    return {topic: near for topic, near in found if near}


def _found(admin: KafkaAdmin, topics: list[str], *, patient: bool) -> dict[str, TopicInfo]:
    """The topics that the broker knows; `patient` asks again a few times while one is missing (up to 3.5 s)."""
    found = admin.describe(topics)
    for pause_s in islice(PREFLIGHT_BACKOFF.pauses(), DESCRIBE_RETRIES if patient else 0):
        if len(found) == len(set(topics)):
            break
        time.sleep(pause_s)
        found = admin.describe(topics)
    return found


def config_problems(own: OwnTopic, info: TopicInfo, config: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Errors and warnings about an existing topic; `config` is its whole config."""
    errors: list[str] = []
    warnings: list[str] = []
    shape = own.shape
    name = f"{own.setting}: topic {own.topic}"
    if info.topic_id in ("", _NO_ID):
        errors.append(f"{name} has no id: Kafka 2.8 or newer is needed")
    if config[_POLICY] != "delete":
        text = f"{name} has cleanup.policy {config[_POLICY]}"
        if shape.compactable:
            warnings.append(
                f"{text}: events are keyed by their tags only, so compaction keeps one list for all intervals, match "
                "modes and worlds; consumers that keep up lose nothing"
            )
        else:
            errors.append(f"{text}; it must be delete, or records are lost")
    if int(config[_MESSAGE_BYTES]) < shape.value_bytes:
        errors.append(
            f"{name} accepts records of {config[_MESSAGE_BYTES]} bytes, {shape.value_bytes} are needed: "
            f"raise its {_MESSAGE_BYTES}"
        )
    kept_ms = int(config[_RETENTION])
    if kept_ms != _FOR_EVER and kept_ms < shape.retention_ms_min:
        errors.append(
            f"{name} keeps records for {kept_ms} ms, {shape.retention_ms_min} ms are needed: raise its {_RETENTION}"
        )
    if shape.broker_time and config[_TIME] != "LogAppendTime":
        warnings.append(
            f"{name} carries producers' timestamps: versions of a producer whose clock is behind are parked; "
            f"set its {_TIME} to LogAppendTime"
        )
    return errors, warnings


def _created(
    admin: KafkaAdmin, missing: Sequence[OwnTopic], replication: int, brokers: int
) -> tuple[str, ...]:
    answers = admin.create({own.topic: _asked(own, replication) for own in missing})
    # The brokers know how many they are, those that are down included; `brokers` are those that are up.
    if brokers < replication:
        fewer = [own for own in missing if _is_short_of_brokers(answers[own.topic])]
        answers |= admin.create({own.topic: _asked(own, brokers) for own in fewer})
    refused = {topic: error for topic, error in answers.items() if error is not None}
    for own in missing:
        error = refused.get(own.topic)
        if error is None or error.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another process was faster
            continue
        failure = admin.connection_errors.unavailable(f"creating {own.topic} ({own.setting})", error)
        if error.code() in _UNANSWERED:
            raise failure
        raise SettingsError(str(failure))
    return tuple(own.topic for own in missing if own.topic not in refused)


def _is_short_of_brokers(error: KafkaError | None) -> bool:
    return error is not None and error.code() == KafkaError.INVALID_REPLICATION_FACTOR


_UNANSWERED: Final = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT})


def _asked(own: OwnTopic, replication: int) -> AdminRequest:
    shape = own.shape
    config = {
        _RETENTION: str(max(shape.retention_ms, _FOR_EVER)),
        _POLICY: "delete",
        _MESSAGE_BYTES: str(max(shape.value_bytes, shape.created_bytes) + ENVELOPE_BYTES),
    }
    if shape.broker_time:
        config[_TIME] = "LogAppendTime"
    if replication >= 3:
        config[_IN_SYNC] = "2"  # acknowledged records are on at least two brokers
    return AdminRequest(shape.partitions, replication, config)


def _is_missing(own: OwnTopic, near: str | None) -> str:
    text = f"{own.setting}: topic {own.topic} is missing"
    if near:
        return f"{text}, but {near} exists: name that one, or create the missing one with `dagmanager init`"
    return f"{text}: create it with `dagmanager init`, or name another"
