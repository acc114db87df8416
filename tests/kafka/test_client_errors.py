"""Connection errors in the message of the error that is raised."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from dagmanager.kafka.client_errors import FORBIDDEN, ConnectionErrors
from dagmanager.kafka.options import KafkaAddress

ADDRESS = KafkaAddress("k:1", {"sasl.password": "hunter2"}, setting="controlbus_options")
ADVICE = "check the credentials in controlbus_options and this principal's ACLs"
HINT = "usually a security.protocol in controlbus_options that is not the listener's"


@pytest.mark.parametrize("code", sorted(FORBIDDEN))
def test_failed_authorization_is_recognized_and_names_the_setting(code: int) -> None:
    answered, reported = ConnectionErrors(ADDRESS), ConnectionErrors(ADDRESS)
    reported(KafkaError(code))
    for errors, error in ((answered, KafkaError(code)), (reported, KafkaError(KafkaError._TIMED_OUT))):
        message = str(errors.unavailable("asking", error))
        assert errors.is_forbidden()
        assert message.startswith("Kafka at k:1 (asking): ")
        assert message.endswith(ADVICE)
        assert "hunter2" not in message


def test_all_brokers_down_without_a_reason_suggests_another_protocol() -> None:
    errors = ConnectionErrors(ADDRESS)
    assert HINT not in str(errors.unavailable("asking"))
    errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert HINT in str(errors.unavailable("asking"))
    assert not errors.is_forbidden()


@pytest.mark.parametrize(
    "text",
    [
        "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? "
        "(after 1ms in state SSL_HANDSHAKE)",
        "Disconnected: SSL connection closed by peer (after 1ms in state SSL_HANDSHAKE)",
        "Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol configuration "
        "(after 2ms in state APIVERSION_QUERY, 4 identical error(s) suppressed)",
        "Disconnected: hung up from peer in state AUTH_LEGACY (after 0ms in state AUTH_LEGACY)",
        "Send failed: Broken pipe (after 1ms in state UP)",
    ],
)
def test_a_connection_closed_in_the_handshake_suggests_another_protocol(
    text: str,
) -> None:
    errors = ConnectionErrors(ADDRESS)
    errors(KafkaError(KafkaError._TRANSPORT, text))
    assert HINT in str(errors.unavailable("asking"))
    assert not errors.is_forbidden()


@pytest.mark.parametrize(
    "text",
    [
        "Connect to k:1 failed: Connection refused (after 0ms in state CONNECT)",
        "Disconnected (after 600000ms in state UP)",
        "Send failed: Broken pipe (after 600000ms in state UP)",
        "Connection setup timed out in state APIVERSION_QUERY (after 30000ms in state APIVERSION_QUERY)",
    ],
)
def test_other_connection_errors_do_not_suggest_another_protocol(text: str) -> None:
    errors = ConnectionErrors(ADDRESS)
    errors(KafkaError(KafkaError._TRANSPORT, text))
    assert HINT not in str(errors.unavailable("asking"))


def test_an_unreachable_broker_is_reported_as_such() -> None:
    errors = ConnectionErrors(ADDRESS)
    errors(KafkaError(KafkaError._TRANSPORT, "Connection refused"))
    errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    message = str(errors.unavailable("asking"))
    assert message == "Kafka at k:1 (asking): no answer in time; Connection refused"
