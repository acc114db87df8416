"""Every option of the client library (librdkafka) that the product sets, and why.

Delivery guarantees depend on the `FIXED` options, so users cannot set them; `kafka_options` may override the others.
Reference: CONFIGURATION.md of librdkafka.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from confluent_kafka import KafkaException

from dagmanager.errors import SettingsError

Client = TypeVar("Client")

REQUEST_S: Final = 5.0
DELIVERY_S: Final = 10.0
MILLISECONDS: Final = 1_000

# Consumers find a repeated record by its id. A skipped record is lost without a trace: repeat rather than skip.
FIXED: Final[Mapping[str, Any]] = {
    # Reading: an offset that was deleted is an error, never a jump to the end. Offsets are kept in the flow's snapshots
    # and never committed to the broker.
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Writing: acknowledged by all in-sync replicas, in order, once per attempt.
    "acks": "all",
    "enable.idempotence": True,
    # A misspelt topic name must fail, and a deleted topic must stay deleted.
    "allow.auto.create.topics": False,
}
# Aliases of fixed options, and options that have a setting of their own.
RESERVED: Final = frozenset(
    {
        *FIXED,
        "request.required.acks",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
        "bootstrap.servers",
        "metadata.broker.list",
        "message.timeout.ms",
        "delivery.timeout.ms",
        "transactional.id",
    }
)
_ALL_CLIENTS: Final[Mapping[str, Any]] = {
    "client.id": "dagmanager",
    # The library's log repeats each failed connection for ever; `ConnectionErrors` keeps the last, callers log it once.
    "log_level": 2,
    "socket.keepalive.enable": True,
    "socket.connection.setup.timeout.ms": 5_000,
    "reconnect.backoff.max.ms": 2_000,
    # A missing topic becomes an error after 3 s; the default of 30 s is longer than a delivery may take.
    "topic.metadata.propagation.max.ms": 3_000,
}
_ADMIN: Final[Mapping[str, Any]] = {
    # Admin requests go to the controller of the last metadata. After the controller dies, fresh metadata may still name
    # it; with the default interval the client would then wait 5 minutes before it asks again.
    "topic.metadata.refresh.interval.ms": 2_000,
}
_CONSUMER: Final[Mapping[str, Any]] = {
    "group.id": "dagmanager",
    # Bounds the memory per partition; the defaults are 100,000 records and 64 MiB.
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 32 * 1024,
    # The default would delay the next fetch by a second once the queue is full.
    "fetch.queue.backoff.ms": 10,
    "fetch.error.backoff.ms": 100,
    "check.crcs": True,
}
_PRODUCER: Final[Mapping[str, Any]] = {
    # High enough that the topic's own limit decides what is too large.
    "message.max.bytes": 64 * 1024 * 1024,
    "queue.buffering.max.kbytes": 128 * 1024,
    # The partitioner of the Java client and most others: equal keys must reach the same partition.
    "partitioner": "murmur2_random",
}
# A broker rejects a whole batch that is larger than the topic's max.message.bytes, which may be small (the admin log's).
# Records larger than this are sent alone.
BATCH_BYTES: Final = 64 * 1024


class KafkaAddress(msgspec.Struct, frozen=True):
    """A Kafka cluster, its client options and time limits.

    `servers` as in `bootstrap.servers`. `options` are the user's librdkafka options (security, tuning), `setting` is the
    settings field that holds them, for error messages. A request fails after `request_s` seconds without an answer, a
    delivery after `delivery_s` seconds without acknowledgement.
    """

    servers: str
    options: Mapping[str, str] = {}
    request_s: float = REQUEST_S
    delivery_s: float = DELIVERY_S
    setting: str = "kafka_options"

    def __repr__(self) -> str:
        """The servers only: options hold passwords."""
        return f"KafkaAddress({self.servers!r})"


def admin_options(address: KafkaAddress) -> dict[str, Any]:
    """Options of an admin client. `SettingsError` when the user set a reserved one; so for all three kinds."""
    return _joined(address, _ADMIN, ())


def consumer_options(address: KafkaAddress) -> dict[str, Any]:
    """Options of a consumer that is assigned its partitions, without consumer group management."""
    reading = ("auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store")
    return _joined(address, _CONSUMER, (*reading, "allow.auto.create.topics"))


def producer_options(address: KafkaAddress, batch_bytes: int = BATCH_BYTES) -> dict[str, Any]:
    """Options of a `KafkaProducer`; `batch_bytes` bounds one batch on the wire."""
    delivery_ms = int(address.delivery_s * MILLISECONDS)
    limits = {
        "batch.size": batch_bytes,
        # Longer than `delivery_s`, after which `KafkaProducer` purges all queued records at once. The library's own
        # timeout works per record: it could drop the first of two records and still send the second.
        "message.timeout.ms": 2 * delivery_ms,
        "request.timeout.ms": delivery_ms,
    }
    writing = ("acks", "enable.idempotence", "allow.auto.create.topics")
    return _joined(address, {**_PRODUCER, **limits}, writing)


def client(
    make: Callable[[dict[str, Any]], Client], options: dict[str, Any], setting: str = "kafka_options"
) -> Client:
    """A client with these options; `SettingsError` when the library does not accept one."""
    try:
        return make(options)
    except (KafkaException, TypeError, ValueError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        msg = f"{setting}: {reason}"
        raise SettingsError(msg) from error


def _joined(address: KafkaAddress, specific: Mapping[str, Any], fixed: tuple[str, ...]) -> dict[str, Any]:
    reserved = sorted(RESERVED.intersection(address.options))
    if reserved:
        msg = f"{address.setting}: {reserved[0]} cannot be set: a guarantee depends on it, or it has its own setting"
        raise SettingsError(msg)
    guarantees = {name: FIXED[name] for name in fixed}
    return {**_ALL_CLIENTS, **specific, **address.options, **guarantees, "bootstrap.servers": address.servers}
