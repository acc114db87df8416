"""What the client library's errors mean to us."""

from __future__ import annotations

import re
import time
from typing import Final

from confluent_kafka import KafkaError

from dagmanager.errors import UnavailableError
from dagmanager.kafka.options import KafkaAddress

FRESH_FOR_S: Final = 30.0
ABSENT: Final = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
# Who we are, or what we may do, is refused: waiting does not help, a person does.
FORBIDDEN: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
    }
)
# How the library words that a server took our connection and hung up before we were through with greeting
# it. Which of its sentences it says depends on who closes first.
CLOSED_IN_HANDSHAKE: Final = re.compile(
    r"SSL handshake failed|Disconnected.*in state (SSL_HANDSHAKE|APIVERSION_QUERY|AUTH_\w+)"
)


class ConnectionErrors:
    """What a client last said of its connections: a request's timeout alone does not tell why."""

    def __init__(self, address: KafkaAddress) -> None:
        """Nothing heard of these servers."""
        self._address = address
        self._code = 0
        self._text = ""
        self._at = -FRESH_FOR_S

    def __call__(self, error: KafkaError) -> None:
        """The library's `error_cb`. That all brokers are down says less than what went before."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self.reason():
            return
        self._code, self._text, self._at = error.code(), error.str(), time.monotonic()

    def reason(self) -> str:
        """The last complaint, if it is fresh."""
        return self._text if time.monotonic() - self._at < FRESH_FOR_S else ""

    def is_forbidden(self) -> bool:
        """Whether the servers turned us away, rather than being away."""
        return bool(self.reason()) and self._code in FORBIDDEN

    def unavailable(self, doing: str, error: KafkaError | None = None) -> UnavailableError:
        """The error to raise: what we were doing, what the library answered, and why it thinks so."""
        if error is not None and error.code() in FORBIDDEN:
            self(error)
        parts = [error.str() if error is not None else "no answer in time", self.reason()]
        if self.is_forbidden():
            parts.append(f"check the credentials in {self._address.setting} and this principal's ACLs")
        elif self._is_closed_in_handshake():
            parts.append(
                "its connections are closed as soon as they are made: it is coming up or going down, or its "
                f"listener is of another security.protocol than {self._address.setting} says"
            )
        told = "; ".join(dict.fromkeys(part for part in parts if part))
        return UnavailableError(f"Kafka at {self._address.servers} ({doing}): {told}")

    def _is_closed_in_handshake(self) -> bool:
        """Somebody took our connections, and had no word for us: of one refused or timed out, and of words
        that are refused, the library tells. A listener with TLS or SASL does that to whoever comes without."""
        return bool(self.reason()) and (
            self._code == KafkaError._ALL_BROKERS_DOWN or CLOSED_IN_HANDSHAKE.search(self._text) is not None
        )
