"""A client of the library, replaced by a new one when no broker has answered it for some time.

A single broker that was held up for longer than its session answers for a moment with an empty list of brokers. The
library then forgets its only broker and does not ask the bootstrap servers again: every later request fails with "Broker
transport failure", although the broker is healthy and a new client is answered at once (librdkafka 5301, seen with
2.16.0 for minutes; `metadata.recovery.rebootstrap.trigger.ms` does not end it).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic

from confluent_kafka import KafkaError

from dagmanager.kafka.options import Client

# What a client without brokers says, and one whose brokers are down: it cannot tell these apart.
WITHOUT_BROKERS: Final = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError.BROKER_NOT_AVAILABLE,
    }
)


class RenewedClient(Generic[Client]):
    """Makes the client and replaces it. Safe between threads; no method makes a request.

    A thread may still use a replaced client. When none does, its open requests end with the error
    `_DESTROY`.
    """

    def __init__(
        self,
        make: Callable[[], Client],
        after_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes the first client. Raises what `make` raises; `after_s` are seconds without an answer."""
        self._make = make
        self._after_s = after_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._client: Client | None = make()

    def current(self) -> Client:
        """The client; a new one if it was not answered for `after_s` since a failure, or was discarded."""
        with self._lock:
            since, old = self._failing_since, self._client
            if old is not None and (since is None or self._clock() - since < self._after_s):
                return old
            self._client, self._failing_since = self._make(), None
            return self._client

    def answered(self) -> None:
        """A broker answered, with an error or without."""
        self._failing_since = None

    def failed(self, error: KafkaError | None = None) -> None:
        """A request got this error, or no answer at all. An error that a broker sent counts as an answer.

        May be called by a thread of the library: replaces nothing by itself.
        """
        if error is not None and error.code() not in WITHOUT_BROKERS:
            self.answered()
        elif self._failing_since is None:
            self._failing_since = self._clock()

    def discard(self) -> None:
        """The next call of `current` makes a new client."""
        with self._lock:
            self._client = None
