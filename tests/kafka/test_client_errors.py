"""What a client has heard of its connections, in the words of the error that is raised."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from dagmanager.kafka.client_errors import FORBIDDEN, ConnectionErrors
from dagmanager.kafka.options import KafkaAddress

ADDRESS = KafkaAddress("k:1", {"sasl.password": "hunter2"}, setting="controlbus_options")
ADVICE = "check the credentials in controlbus_options and this principal's ACLs"
HINT = "or its listener is of another security.protocol than controlbus_options says"


@pytest.mark.parametrize("code", sorted(FORBIDDEN))
def test_a_refusal_of_rights_is_known_as_one_and_names_the_setting(code: int) -> None:
    answered, complained = ConnectionErrors(ADDRESS), ConnectionErrors(ADDRESS)
    complained(KafkaError(code))
    for heard, error in ((answered, KafkaError(code)), (complained, KafkaError(KafkaError._TIMED_OUT))):
        told = str(heard.unavailable("asking", error))
        assert heard.is_forbidden()
        assert told.startswith("Kafka at k:1 (asking): ")
        assert told.endswith(ADVICE)
        assert "hunter2" not in told


def test_a_broker_that_hangs_up_without_a_word_may_be_of_another_protocol() -> None:
    heard = ConnectionErrors(ADDRESS)
    assert HINT not in str(heard.unavailable("asking"))
    heard(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert HINT in str(heard.unavailable("asking"))
    assert not heard.is_forbidden()


@pytest.mark.parametrize(
    "said",
    [
        "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? "
        "(after 1ms in state SSL_HANDSHAKE)",
        "Disconnected: SSL connection closed by peer (after 1ms in state SSL_HANDSHAKE)",
        "Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol configuration "
        "(after 2ms in state APIVERSION_QUERY, 4 identical error(s) suppressed)",
        "Disconnected: hung up from peer in state AUTH_LEGACY (after 0ms in state AUTH_LEGACY)",
    ],
)
def test_who_is_cut_short_while_greeting_is_told_so_in_whichever_sentence_the_library_says_it(
    said: str,
) -> None:
    heard = ConnectionErrors(ADDRESS)
    heard(KafkaError(KafkaError._TRANSPORT, said))
    assert HINT in str(heard.unavailable("asking"))
    assert not heard.is_forbidden()


@pytest.mark.parametrize(
    "said",
    [
        "Connect to k:1 failed: Connection refused (after 0ms in state CONNECT)",
        "Disconnected (after 600000ms in state UP)",
        "Connection setup timed out in state APIVERSION_QUERY (after 30000ms in state APIVERSION_QUERY)",
    ],
)
def test_who_was_never_taken_or_already_greeted_or_kept_waiting_was_not_cut_short(said: str) -> None:
    heard = ConnectionErrors(ADDRESS)
    heard(KafkaError(KafkaError._TRANSPORT, said))
    assert HINT not in str(heard.unavailable("asking"))


def test_a_broker_that_is_away_is_just_that() -> None:
    heard = ConnectionErrors(ADDRESS)
    heard(KafkaError(KafkaError._TRANSPORT, "Connection refused"))
    heard(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    told = str(heard.unavailable("asking"))
    assert told == "Kafka at k:1 (asking): no answer in time; Connection refused"
