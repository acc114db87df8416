"""The topics of a real broker: `Topics` and `TopicPruner` over the admin API."""

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
# The broker did not come as far as to answer for any topic: nothing can be said of them.
_UNANSWERED: Final = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT_QUEUE}
)


class KafkaTopics:
    """Safe between threads. Twins in one request are all created and names that differ in case are never
    refused: the graph's unique names protect from both."""

    def __init__(self, admin: KafkaAdmin) -> None:
        """No request is made yet."""
        self._admin = admin
        self._brokers_seen = 0

    def brokers(self) -> int:
        """How many are up."""
        found = self._admin.brokers()
        self._brokers_seen = max(self._brokers_seen, found)
        return found

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Just these; absent ones are left out."""
        return self._admin.describe(topics)

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        """The config of just these; absent ones are left out."""
        found = self._admin.configs(topics)
        return {topic: TopicConfig(int(config[RETENTION]), config[POLICY]) for topic, config in found.items()}

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        """Bulk, idempotent; what no broker would take is not asked for."""
        results = {topic: _own_verdict(topic, spec) for topic, spec in specs.items()}
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
        last = next((error for error in answers.values() if error is not None), None)
        if last is not None and all(
            error is not None and error.code() in _UNANSWERED for error in answers.values()
        ):
            raise self._admin.connection_errors.unavailable("creating topics", last)
        return results

    def delete(self, topics: Sequence[str]) -> None:
        """Remove topics; absent ones are fine."""
        reserved = [topic for topic in topics if topic.startswith("__")]
        if reserved:
            msg = f"{reserved[0]} is the broker's own and is never deleted"
            raise SettingsError(msg)
        for topic, error in self._admin.delete(topics).items():
            if error is not None and error.code() not in ABSENT:
                raise self._admin.connection_errors.unavailable(f"deleting topic {topic}", error)

    def _refusal(self, error: KafkaError, spec: TopicSpec) -> CreateResult:
        """What one topic's error means; what we do not know is asked again by describe."""
        code, reason = error.code(), error.str()
        if code == KafkaError.TOPIC_ALREADY_EXISTS:
            return CreateResult(CreateStatus.EXISTS, reason)
        if code == KafkaError.TOPIC_EXCEPTION:  # the name itself was checked before
            return CreateResult(CreateStatus.COLLIDES, reason)
        if code in _REFUSED:
            return CreateResult(CreateStatus.REFUSED, reason)
        if code in FORBIDDEN:
            # A missing right is mended by a person; no submission may be refused for it.
            raise self._admin.connection_errors.unavailable("creating topics", error)
        if code == KafkaError.INVALID_REPLICATION_FACTOR and spec.replication > self._most_brokers():
            return CreateResult(CreateStatus.REFUSED, reason)
        return CreateResult(CreateStatus.AMBIGUOUS, reason)

    def _most_brokers(self) -> int:
        """Replicas that brokers could hold which are down just now are not refused for good."""
        return max(self._brokers_seen, self.brokers())


def _own_verdict(topic: str, spec: TopicSpec) -> CreateResult:
    """Names, counts and policies; how many brokers and twins there are is for the broker to say."""
    return check_creation(topic, spec, None, max(spec.replication, 1))
