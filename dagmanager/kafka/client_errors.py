"""Error codes of the client library by what they mean here, and the last connection error of a client."""

from __future__ import annotations

import re
import time
from typing import Final

from confluent_kafka import KafkaError

from dagmanager.errors import UnavailableError
from dagmanager.kafka.options import KafkaAddress

# An older connection error explains nothing: the client has reconnected since, or would have repeated it.
FRESH_FOR_S: Final = 30.0
ABSENT: Final = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
# Authentication or authorization failed: no retry helps, an operator has to change credentials or ACLs.
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
# The library's messages for "TCP accepted, then closed in the handshake". Which one it uses depends on which side closes
# first. A listener with SASL lets a client without get into state UP, and closes at its first request.
CLOSED_IN_HANDSHAKE: Final = re.compile(
    r"SSL handshake failed|Disconnected.*in state (SSL_HANDSHAKE|APIVERSION_QUERY|AUTH_\w+)"
    r"|Send failed: .*\(after \d{1,3}ms in state UP"
)


class ConnectionErrors:
    """The last connection error of one client, for the message of a request that only timed out.

    The library reports connection errors in the background and the failed request says no more than "timed out".
    """

    def __init__(self, address: KafkaAddress) -> None:
        """No error yet. `address` names the servers and the setting in messages."""
        self._address = address
        self._code = 0
        self._text = ""
        self._at = -FRESH_FOR_S

    def __call__(self, error: KafkaError) -> None:
        """The library's `error_cb`. "All brokers are down" does not replace a more specific error."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self.reason():
            return
        self._code, self._text, self._at = error.code(), error.str(), time.monotonic()

    def reason(self) -> str:
        """The text of the last connection error, empty when there is none of the last 30 s."""
        return self._text if time.monotonic() - self._at < FRESH_FOR_S else ""

    def is_forbidden(self) -> bool:
        """Whether the servers rejected the client (authentication, authorization), rather than being unreachable."""
        return bool(self.reason()) and self._code in FORBIDDEN

    def unavailable(self, doing: str, error: KafkaError | None = None) -> UnavailableError:
        """The error to raise: what was being done, the library's error, and the last connection error."""
        if error is not None and error.code() in FORBIDDEN:
            self(error)
        parts = [error.str() if error is not None else "no answer in time", self.reason()]
        if self.is_forbidden():
            parts.append(f"check the credentials in {self._address.setting} and this principal's ACLs")
        elif self._is_closed_in_handshake():
            parts.append(
                "TCP accepted, then closed in the handshake: usually a security.protocol in "
                f"{self._address.setting} that is not the listener's, else a broker that is starting or stopping"
            )
        reasons = "; ".join(dict.fromkeys(part for part in parts if part))
        return UnavailableError(f"Kafka at {self._address.servers} ({doing}): {reasons}")

    def _is_closed_in_handshake(self) -> bool:
        """TCP accepted, then closed in the handshake: usually a security.protocol mismatch.

        A listener with TLS or SASL closes the connection of a client without. Refused or timed-out connections and
        wrong passwords have error texts of their own, so "all brokers down" alone means the same.
        """
        return bool(self.reason()) and (
            self._code == KafkaError._ALL_BROKERS_DOWN or CLOSED_IN_HANDSHAKE.search(self._text) is not None
        )
