"""Every option of the client library (librdkafka) that we set, and why; the only place that knows them.

`FIXED` options carry a promise and cannot be set by users; the others may be tuned by `kafka_options`.
Reference: the CONFIGURATION page of librdkafka.
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

# A repeat after a crash is found by its id, a record that was skipped is found by nobody.
FIXED: Final[Mapping[str, Any]] = {
    # Reading: an offset that is gone is an error, never a jump to the end;
    # offsets live in the flow's snapshots, the broker is told none.
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Writing: acknowledged by all in-sync replicas, in order, once per attempt.
    "acks": "all",
    "enable.idempotence": True,
    # A typo, or a topic just collected, must not come to life.
    "allow.auto.create.topics": False,
}
# Other names of the same, and what has a setting of its own.
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
_EVERYONE: Final[Mapping[str, Any]] = {
    "client.id": "dagmanager",
    # Its own log repeats each failed connection for ever; `Heard` keeps what matters, callers log it once.
    "log_level": 2,
    "socket.keepalive.enable": True,
    "socket.connection.setup.timeout.ms": 5_000,
    "reconnect.backoff.max.ms": 2_000,
    # A topic that is missing is told of soon: 30 s by default, longer than a delivery may take.
    "topic.metadata.propagation.max.ms": 3_000,
}
_ADMIN: Final[Mapping[str, Any]] = {
    # Requests go to one broker that it was told of. When that one dies it is often told the same once more,
    # and would wait for it until it asks again: 5 minutes by default.
    "topic.metadata.refresh.interval.ms": 2_000,
}
_CONSUMER: Final[Mapping[str, Any]] = {
    "group.id": "dagmanager",
    # Bounded memory for each partition: 100,000 records or 64 MiB by default.
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 32 * 1024,
    # Once the queue is full the next fetch would wait a second.
    "fetch.queue.backoff.ms": 10,
    "fetch.error.backoff.ms": 100,
    "check.crcs": True,
}
_PRODUCER: Final[Mapping[str, Any]] = {
    # The topic's own limit decides what is too large.
    "message.max.bytes": 64 * 1024 * 1024,
    "queue.buffering.max.kbytes": 128 * 1024,
    # As Java's and most other clients place keys.
    "partitioner": "murmur2_random",
}
# A broker refuses a whole batch that is larger than one record of the topic may be: 1 MB by default, more than
# an admin log takes. What is larger than this goes alone.
BATCH_BYTES: Final = 64 * 1024


class KafkaAddress(msgspec.Struct, frozen=True):
    """A cluster and how patient we are with it.

    `servers` as in `bootstrap.servers`; `options` are the user's own (security, tuning), and `setting` is
    the field that holds them. A request unanswered for `request_s` seconds, or a delivery for
    `delivery_s`, counts as failed.
    """

    servers: str
    options: Mapping[str, str] = {}
    request_s: float = REQUEST_S
    delivery_s: float = DELIVERY_S
    setting: str = "kafka_options"

    def __repr__(self) -> str:
        """Without the options: they hold passwords."""
        return f"KafkaAddress({self.servers!r})"


def admin_options(address: KafkaAddress) -> dict[str, Any]:
    """For describing, creating and deleting topics."""
    return _joined(address, _ADMIN, ())


def consumer_options(address: KafkaAddress) -> dict[str, Any]:
    """For reading one partition without a group."""
    reading = ("auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store")
    return _joined(address, _CONSUMER, (*reading, "allow.auto.create.topics"))


def producer_options(address: KafkaAddress, batch_bytes: int = BATCH_BYTES) -> dict[str, Any]:
    """For deliveries that are checked; see `KafkaProducer`."""
    delivery_ms = int(address.delivery_s * MILLISECONDS)
    limits = {
        "batch.size": batch_bytes,
        # Beyond our own time limit: that one takes back all that waits together, so that of two
        # records the first cannot be given up while the second still goes out.
        "message.timeout.ms": 2 * delivery_ms,
        "request.timeout.ms": delivery_ms,
    }
    writing = ("acks", "enable.idempotence", "allow.auto.create.topics")
    return _joined(address, {**_PRODUCER, **limits}, writing)


def client(
    make: Callable[[dict[str, Any]], Client], options: dict[str, Any], setting: str = "kafka_options"
) -> Client:
    """A client with these options; `SettingsError` when the library does not know or take one."""
    try:
        return make(options)
    except (KafkaException, TypeError, ValueError) as error:
        told = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        msg = f"{setting}: {told}"
        raise SettingsError(msg) from error


def _joined(address: KafkaAddress, ours: Mapping[str, Any], fixed: tuple[str, ...]) -> dict[str, Any]:
    taken = sorted(RESERVED.intersection(address.options))
    if taken:
        msg = (
            f"{address.setting}: {taken[0]} cannot be set: a promise depends on it, or it has its own setting"
        )
        raise SettingsError(msg)
    promises = {name: FIXED[name] for name in fixed}
    return {**_EVERYONE, **ours, **address.options, **promises, "bootstrap.servers": address.servers}
