"""Requests about topics: in chunks, each with both time limits, never about all topics."""

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

# Topics of a second request wait until the broker has made the files of the first: seconds, for a thousand.
TOPICS_PER_REQUEST: Final = 2_000
# The library cannot ask for less than all of a topic's config, 3 KB each.
CONFIGS_PER_REQUEST: Final = 500
IMPOSSIBLE_TOPIC: Final = "."
# A controller takes 10,000 metadata records in one request; more of them fail the whole request.
RECORDS_MAX: Final = 9_000
# What the library itself may need on top before it gives a request up.
_SLACK_S: Final = 5.0


class AdminRequest(msgspec.Struct, frozen=True):
    """A topic to be created."""

    partitions: int
    replication: int
    config: Mapping[str, str]

    def records(self) -> int:
        """How many metadata records its creation takes."""
        return 1 + self.partitions + len(self.config)


class KafkaAdmin:
    """Safe between threads. Every method may block for the request's time limit, once per chunk."""

    def __init__(self, address: KafkaAddress, chunk: int = TOPICS_PER_REQUEST) -> None:
        """Connects in the background; `chunk` topics in one request. `SettingsError` for options that the
        library does not take."""
        self.address = address
        self._chunk = chunk
        self.connection_errors = ConnectionErrors(address)
        options = {**admin_options(address), "error_cb": self.connection_errors}
        self._client = client(AdminClient, options, address.setting)
        self._limits = {"request_timeout": address.request_s, "operation_timeout": address.request_s}

    def brokers(self) -> int:
        """How many are up; `UnavailableError` when none is, as for one that has just come back.

        Asked together with a name that no topic can have: to an answer of neither brokers nor topics
        the library aborts the process, when it is that of `describe_cluster`.
        """
        try:
            found = len(self._client.list_topics(IMPOSSIBLE_TOPIC, timeout=self.address.request_s).brokers)
        except KafkaException as answer:
            self._client.poll(0)  # complaints of its connections come only when they are asked for
            raise self.connection_errors.unavailable("asking for its brokers", answer.args[0]) from answer
        if not found:
            msg = f"Kafka at {self.address.servers} (asking for its brokers): it knows of none yet"
            raise UnavailableError(msg)
        return found

    def describe_async(self, topic: str) -> Future[TopicDescription]:
        """A request on its way, for those who must not wait."""
        self._client.poll(0)
        asked = TopicCollection([topic])
        return self._client.describe_topics(asked, request_timeout=self.address.request_s)[topic]

    def describe(self, topics: Sequence[str]) -> dict[str, TopicInfo]:
        """Just these; absent ones, and names that no topic can have, are left out."""
        found: dict[str, TopicInfo] = {}
        for chunk in self._chunks([topic for topic in topics if topic]):
            answers = self._client.describe_topics(
                TopicCollection(chunk), request_timeout=self.address.request_s
            )
            for topic, future in answers.items():
                told = self._told(future, "describing topics")
                if not isinstance(told, KafkaError):
                    found[topic] = info(told)
                elif told.code() not in {*ABSENT, KafkaError.TOPIC_EXCEPTION}:
                    raise self.connection_errors.unavailable(f"describing topic {topic}", told)
        return found

    def configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """All of each one's config, defaults included; absent ones are left out. Dear: 1 ms a topic."""
        found: dict[str, dict[str, str]] = {}
        for chunk in self._chunks([topic for topic in topics if topic], CONFIGS_PER_REQUEST):
            asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in chunk]
            answers = self._client.describe_configs(asked, request_timeout=self.address.request_s)
            for resource, future in answers.items():
                told = self._told(future, "reading configs")
                if not isinstance(told, KafkaError):
                    found[resource.name] = {name: entry.value for name, entry in told.items()}
                elif told.code() not in {*ABSENT, KafkaError.TOPIC_EXCEPTION}:
                    raise self.connection_errors.unavailable(
                        f"reading the config of topic {resource.name}", told
                    )
        return found

    def create(self, wanted: Mapping[str, AdminRequest]) -> dict[str, KafkaError | None]:
        """Each one's answer, None when it was created. A name must not be empty."""
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
                answers[topic] = self._told(future, "creating topics")
        return answers

    def delete(self, topics: Sequence[str]) -> dict[str, KafkaError | None]:
        """Each one's answer, None when it is gone."""
        answers: dict[str, KafkaError | None] = {}
        for chunk in self._chunks([topic for topic in topics if topic]):
            for topic, future in self._client.delete_topics(chunk, **self._limits).items():
                answers[topic] = self._told(future, "deleting topics")
        return answers

    def _chunks(self, topics: list[str], most: int = TOPICS_PER_REQUEST) -> Iterator[list[str]]:
        distinct, most = list(dict.fromkeys(topics)), min(most, self._chunk)
        for start in range(0, len(distinct), most):
            yield distinct[start : start + most]

    def _told(self, future: Future[T], doing: str) -> T | KafkaError:
        try:
            return future.result(timeout=self.address.request_s + _SLACK_S)
        except KafkaException as answer:
            error: KafkaError = answer.args[0]
            return error
        except TimeoutError as late:
            raise self.connection_errors.unavailable(doing) from late
        finally:
            self._client.poll(0)  # complaints of its connections come only when they are asked for


def info(told: TopicDescription) -> TopicInfo:
    """A description in our words."""
    partitions = told.partitions
    return TopicInfo(
        topic=told.name,
        topic_id=TOPIC_IDS.read(told),
        partitions=len(partitions),
        replication=min((len(each.replicas) for each in partitions), default=0),
        ready=bool(partitions) and all(_has_leader(each) for each in partitions),
    )


def creation_chunks(
    wanted: Mapping[str, AdminRequest], most: int = TOPICS_PER_REQUEST
) -> Iterator[list[str]]:
    """Names in the order given, as many in one request as a controller takes."""
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
