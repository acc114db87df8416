"""Admin requests about named topics, and about all topics of a cluster only where a start fails.

Each request covers a bounded number of topics and has two time limits: the broker's and the client's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by its stub's rules
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from dagmanager.engine.model.topics_port import TopicInfo
from dagmanager.errors import UnavailableError
from dagmanager.kafka.client_errors import ABSENT, ConnectionErrors
from dagmanager.kafka.options import KafkaAddress, admin_options, client
from dagmanager.kafka.topic_id_leak_workaround import TOPIC_IDS

T = TypeVar("T")

# One large request is faster than several: the broker creates the files of a second request only after those of the
# first, which takes seconds for a thousand topics.
TOPICS_PER_REQUEST: Final = 2_000
# The library always reads the whole config of a topic, 3 KB each.
CONFIGS_PER_REQUEST: Final = 500
# No topic can have this name, so that asking for it returns the brokers only.
IMPOSSIBLE_TOPIC: Final = "."
# A controller accepts 10,000 metadata records in one request; above that the whole request fails.
RECORDS_MAX: Final = 9_000
# How much longer than the time limit the library may take to give up a request.
_SLACK_S: Final = 5.0


class AdminRequest(msgspec.Struct, frozen=True):
    """A topic to be created; `config` holds topic configs such as `retention.ms`."""

    partitions: int
    replication: int
    config: Mapping[str, str]

    def records(self) -> int:
        """How many metadata records its creation writes at the controller."""
        return 1 + self.partitions + len(self.config)


class KafkaAdmin:
    """Describes, creates and deletes topics. Safe between threads.

    Every method but `describe_async` blocks for at most `request_s` (plus 5 s for the library) per chunk of topics, and
    raises `UnavailableError` when the brokers do not answer or reject the client.
    """

    def __init__(self, address: KafkaAddress, chunk: int = TOPICS_PER_REQUEST) -> None:
        """Connects in the background. `chunk` is the number of topics in one request, at most 2,000.

        Raises `SettingsError` for options that the library does not accept.
        """
        self.address = address
        self._chunk = chunk
        self.connection_errors = ConnectionErrors(address)
        options = {**admin_options(address), "error_cb": self.connection_errors}
        self._client = client(AdminClient, options, address.setting)
        self._limits = {"request_timeout": address.request_s, "operation_timeout": address.request_s}

    def brokers(self) -> int:
        """How many brokers are up, at least 1. `UnavailableError` when none is, also while one is just starting.

        Uses a metadata request for an impossible topic name instead of `describe_cluster`: that one aborts the process
        (an assertion in the library) when a starting broker answers with no brokers.
        """
        try:
            found = len(self._client.list_topics(IMPOSSIBLE_TOPIC, timeout=self.address.request_s).brokers)
        except KafkaException as answer:
            self._client.poll(0)  # connection errors reach `error_cb` only from within poll
            raise self.connection_errors.unavailable("listing brokers", answer.args[0]) from answer
        if not found:
            msg = f"Kafka at {self.address.servers} (listing brokers): no broker has registered yet"
            raise UnavailableError(msg)
        return found

    def names(self) -> tuple[str, ...]:
        """Every topic that this client may see; empty when the brokers do not answer. One request for the whole cluster:
        only for the message of a failed start."""
        try:
            return tuple(sorted(self._client.list_topics(timeout=self.address.request_s).topics))
        except KafkaException:
            return ()

    def describe_async(self, topic: str) -> Future[TopicDescription]:
        """Sends the request and returns at once; the future ends within `request_s`."""
        self._client.poll(0)
        asked = TopicCollection([topic])
        return self._client.describe_topics(asked, request_timeout=self.address.request_s)[topic]

    def describe(self, topics: Sequence[str]) -> dict[str, TopicInfo]:
        """The topics that exist among these; invalid names count as absent."""
        found: dict[str, TopicInfo] = {}
        for chunk in self._chunks([topic for topic in topics if topic]):
            answers = self._client.describe_topics(
                TopicCollection(chunk), request_timeout=self.address.request_s
            )
            for topic, future in answers.items():
                result = self._result(future, "describing topics")
                if not isinstance(result, KafkaError):
                    found[topic] = topic_info(result)
                elif result.code() not in {*ABSENT, KafkaError.TOPIC_EXCEPTION}:
                    raise self.connection_errors.unavailable(f"describing topic {topic}", result)
        return found

    def configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """Every config of each existing topic, defaults included. Expensive: about 1 ms per topic."""
        found: dict[str, dict[str, str]] = {}
        for chunk in self._chunks([topic for topic in topics if topic], CONFIGS_PER_REQUEST):
            asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in chunk]
            answers = self._client.describe_configs(asked, request_timeout=self.address.request_s)
            for resource, future in answers.items():
                result = self._result(future, "reading configs")
                if not isinstance(result, KafkaError):
                    found[resource.name] = {name: entry.value for name, entry in result.items()}
                elif result.code() not in {*ABSENT, KafkaError.TOPIC_EXCEPTION}:
                    raise self.connection_errors.unavailable(
                        f"reading the config of topic {resource.name}", result
                    )
        return found

    def create(self, wanted: Mapping[str, AdminRequest]) -> dict[str, KafkaError | None]:
        """The broker's error per topic, None when it was created. Names must not be empty."""
        answers: dict[str, KafkaError | None] = {}
        for chunk in creation_chunks(wanted, self._chunk):
            new = [
                NewTopic(
                    topic,
                    num_partitions=wanted[topic].partitions,
                    replication_factor=wanted[topic].replication,
                    config=dict(wanted[topic].config),
                )
                for topic in chunk
            ]
            for topic, future in self._client.create_topics(new, **self._limits).items():
                answers[topic] = self._result(future, "creating topics")
        return answers

    def delete(self, topics: Sequence[str]) -> dict[str, KafkaError | None]:
        """The broker's error per topic, None when it was deleted."""
        answers: dict[str, KafkaError | None] = {}
        for chunk in self._chunks([topic for topic in topics if topic]):
            for topic, future in self._client.delete_topics(chunk, **self._limits).items():
                answers[topic] = self._result(future, "deleting topics")
        return answers

    def _chunks(self, topics: list[str], most: int = TOPICS_PER_REQUEST) -> Iterator[list[str]]:
        distinct, most = list(dict.fromkeys(topics)), min(most, self._chunk)
        for start in range(0, len(distinct), most):
            yield distinct[start : start + most]

    def _result(self, future: Future[T], doing: str) -> T | KafkaError:
        try:
            return future.result(timeout=self.address.request_s + _SLACK_S)
        except KafkaException as answer:
            error: KafkaError = answer.args[0]
            return error
        except TimeoutError as late:
            raise self.connection_errors.unavailable(doing) from late
        finally:
            self._client.poll(0)  # connection errors reach `error_cb` only from within poll


def topic_info(described: TopicDescription) -> TopicInfo:
    """The library's description as the engine's value; `replication` is the smallest among the partitions."""
    partitions = described.partitions
    return TopicInfo(
        topic=described.name,
        topic_id=TOPIC_IDS.read(described),
        partitions=len(partitions),
        replication=min((len(each.replicas) for each in partitions), default=0),
        ready=bool(partitions) and all(_has_leader(each) for each in partitions),
    )


def creation_chunks(
    wanted: Mapping[str, AdminRequest], most: int = TOPICS_PER_REQUEST
) -> Iterator[list[str]]:
    """Topic names in the given order, per chunk at most `most` and as many as a controller accepts."""
    chunk: list[str] = []
    records = 0
    for topic, asked in wanted.items():
        if chunk and (len(chunk) == most or records + asked.records() > RECORDS_MAX):
            yield chunk
            chunk, records = [], 0
        chunk.append(topic)
        records += asked.records()
    if chunk:
        yield chunk


def _has_leader(partition: Any) -> bool:
    return partition.leader is not None and partition.leader.id >= 0
