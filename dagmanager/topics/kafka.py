"""Topics on real brokers: `Topics` over the admin API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError

from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, CreateStatus, TopicConfig, TopicInfo
from dagmanager.errors import SettingsError
from dagmanager.kafka.admin import AdminRequest, KafkaAdmin
from dagmanager.kafka.client_errors import ABSENT, FORBIDDEN
from dagmanager.topics.rules import check_creation, stored_retention_ms

RETENTION: Final = "retention.ms"
POLICY: Final = "cleanup.policy"
_REFUSED: Final = frozenset(
    {
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_REQUEST,
        KafkaError.POLICY_VIOLATION,
    }
)
# The request failed as a whole, before any topic was looked at.
_UNANSWERED: Final = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT_QUEUE}
)


class KafkaTopics:
    """`Topics` and `TopicPruner` on Kafka. Safe between threads.

    Kafka creates both of two colliding names (`a.b`, `a_b`) in one request, and accepts names that differ in case only:
    the graph's unique constraint on folded names prevents both.

    Every method blocks for at most `request_s` per chunk (see `KafkaAdmin`) and raises `UnavailableError` when the brokers
    do not answer or reject the client.
    """

    def __init__(self, admin: KafkaAdmin) -> None:
        """Makes no request."""
        self._admin = admin
        self._brokers_seen = 0

    def brokers(self) -> int:
        """How many brokers are up, at least 1."""
        found = self._admin.brokers()
        self._brokers_seen = max(self._brokers_seen, found)
        return found

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """The topics that exist among these."""
        return self._admin.describe(topics)

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        """The configs of the topics that exist among these."""
        found = self._admin.configs(topics)
        return {topic: TopicConfig(int(config[RETENTION]), config[POLICY]) for topic, config in found.items()}

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        """Create all in bulk; idempotent. Names and numbers that no broker accepts are refused without a request.

        Raises `UnavailableError` when no topic got an answer, or the client may not create topics.
        """
        results = {topic: _checked_locally(topic, spec) for topic, spec in specs.items()}
        wanted = {
            topic: AdminRequest(
                spec.partitions,
                spec.replication,
                {RETENTION: str(stored_retention_ms(spec)), POLICY: spec.cleanup_policy},
            )
            for topic, spec in specs.items()
            if results[topic].status is CreateStatus.CREATED
        }
        answers = self._admin.create(wanted)
        for topic, error in answers.items():
            if error is not None:
                results[topic] = self._refusal(error, specs[topic])
        # One topic without an answer is AMBIGUOUS and described next; if that is all of them, the broker is unreachable.
        if answers and all(error is not None and error.code() in _UNANSWERED for error in answers.values()):
            raise self._admin.connection_errors.unavailable("creating topics", next(iter(answers.values())))
        return results

    def delete(self, topics: Sequence[str]) -> None:
        """Not yet used: no collector exists. Idempotent; `SettingsError` for names that begin with `__`."""
        reserved = [topic for topic in topics if topic.startswith("__")]
        if reserved:
            msg = f"{reserved[0]} is internal to Kafka and is never deleted"
            raise SettingsError(msg)
        for topic, error in self._admin.delete(topics).items():
            if error is not None and error.code() not in ABSENT:
                raise self._admin.connection_errors.unavailable(f"deleting topic {topic}", error)

    def _refusal(self, error: KafkaError, spec: TopicSpec) -> CreateResult:
        """What one topic's error means; AMBIGUOUS for unknown ones, which the caller resolves by describing the topic."""
        code, reason = error.code(), error.str()
        if code == KafkaError.TOPIC_ALREADY_EXISTS:
            return CreateResult(CreateStatus.EXISTS, reason)
        if code == KafkaError.TOPIC_EXCEPTION:  # the name itself was checked before
            return CreateResult(CreateStatus.COLLIDES, reason)
        if code in _REFUSED:
            return CreateResult(CreateStatus.REFUSED, reason)
        if code in FORBIDDEN:
            # A missing ACL is the operator's to fix; a submission must not be refused for it.
            raise self._admin.connection_errors.unavailable("creating topics", error)
        if code == KafkaError.INVALID_REPLICATION_FACTOR and spec.replication > self._most_brokers():
            return CreateResult(CreateStatus.REFUSED, reason)
        return CreateResult(CreateStatus.AMBIGUOUS, reason)

    def _most_brokers(self) -> int:
        """The most brokers seen so far: a replication factor that fits once all are back must not be refused."""
        return max(self._brokers_seen, self.brokers())


def _checked_locally(topic: str, spec: TopicSpec) -> CreateResult:
    """Checks names, counts and policies; the broker checks its number of brokers and colliding names."""
    return check_creation(topic, spec, None, max(spec.replication, 1))
