"""Which options of the client library are unknown, reserved or have an invalid value; asks no server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from dagmanager.kafka.options import RESERVED

# The library refuses it, so that a check ends with an error before a client, its threads and connections exist.
_UNKNOWN: Final = "dagmanager.no.such.option"
_NO_SUCH: Final = "No such configuration property"
# Options that people set, for "did you mean": the library cannot list its own.
USUAL: Final = (
    "client.dns.lookup", "client.id", "client.rack", "compression.type", "connections.max.idle.ms",
    "enable.ssl.certificate.verification", "fetch.max.bytes", "fetch.wait.max.ms", "group.id", "isolation.level",
    "linger.ms", "message.max.bytes", "metadata.max.age.ms", "queued.max.messages.kbytes", "reconnect.backoff.max.ms",
    "reconnect.backoff.ms", "sasl.kerberos.keytab", "sasl.kerberos.principal", "sasl.kerberos.service.name",
    "sasl.mechanism", "sasl.mechanisms", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config", "sasl.oauthbearer.method", "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url", "sasl.password", "sasl.username", "security.protocol",
    "socket.connection.setup.timeout.ms", "socket.keepalive.enable", "socket.nagle.disable", "socket.timeout.ms",
    "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location", "ssl.certificate.pem", "ssl.cipher.suites",
    "ssl.crl.location", "ssl.endpoint.identification.algorithm", "ssl.key.location", "ssl.key.password", "ssl.key.pem",
    "ssl.keystore.location", "ssl.keystore.password",
)  # fmt: skip


class OptionProblem(NamedTuple):
    """One option that cannot be used. `is_unknown`: the library has no option of this name."""

    option: str
    message: str
    is_unknown: bool = False


def option_problems(options: Mapping[str, str]) -> Iterator[OptionProblem]:
    """Every problem, in order. The messages repeat no value: it may be a password. Creates no client."""
    for option, value in options.items():
        if option in RESERVED:
            yield OptionProblem(option, "cannot be set: a guarantee depends on it, or it has its own setting")
        elif (refusal := _refusal({option: value, _UNKNOWN: ""})).startswith(_NO_SUCH):
            if _UNKNOWN not in refusal:
                yield OptionProblem(option, "the client library has no such option", is_unknown=True)
        else:
            yield OptionProblem(option, "the client library does not accept this value")


def _refusal(options: dict[str, str]) -> str:
    try:
        Producer(options)
    except KafkaException as refused:
        error = refused.args[0]
        return error.str() if isinstance(error, KafkaError) else str(error)
    except (TypeError, ValueError) as refused:
        return str(refused)
    return ""
