"""A client that lost its only broker is replaced; one that is answered stays."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from dagmanager.errors import UnavailableError
from dagmanager.kafka import admin
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.renewed_client import RenewedClient
from tests.kafka.topics import NOWHERE

LOST = KafkaError(KafkaError._TRANSPORT)


class Clients:
    """Numbers of clients, and the time, which passes only here."""

    def __init__(self) -> None:
        self.made = 0
        self.now_s = 100.0
        self.renewed = RenewedClient(self._make, after_s=10.0, clock=lambda: self.now_s)

    def _make(self) -> int:
        self.made += 1
        return self.made

    def after(self, seconds: float) -> int:
        self.now_s += seconds
        return self.renewed.current()


def test_a_client_that_fails_for_long_enough_is_replaced_once() -> None:
    clients = Clients()
    clients.renewed.failed(LOST)
    assert clients.after(9.9) == 1
    clients.renewed.failed(LOST)
    assert clients.after(0.1) == 2
    assert clients.after(100.0) == 2
    clients.renewed.failed(LOST)
    assert clients.after(9.9) == 2
    assert clients.after(0.1) == 3


def test_a_request_without_any_answer_is_a_failure() -> None:
    clients = Clients()
    clients.renewed.failed()
    assert clients.after(10.0) == 2


def test_an_answer_in_between_keeps_the_client() -> None:
    clients = Clients()
    clients.renewed.failed(LOST)
    clients.renewed.answered()
    assert clients.after(10.0) == 1


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._AUTHENTICATION])
def test_a_broker_that_refuses_has_answered(code: int) -> None:
    clients = Clients()
    clients.renewed.failed(LOST)
    clients.renewed.failed(KafkaError(code))
    assert clients.after(10.0) == 1


def test_a_discarded_client_is_replaced_at_once() -> None:
    clients = Clients()
    clients.renewed.discard()
    assert clients.after(0.0) == 2


def test_a_failure_alone_makes_no_client() -> None:
    """The library reports failures from a thread that must not close its own client."""
    clients = Clients()
    clients.renewed.failed(LOST)
    clients.now_s += 10.0
    clients.renewed.failed(LOST)
    assert clients.made == 1


class LostLibrary:
    """The library's client after a broker was fenced: the first one made never finds a broker again, later ones do."""

    made = 0

    def __init__(self, options: Mapping[str, Any]) -> None:
        type(self).made += 1
        self._lost = self.made == 1

    def list_topics(self, topic: str, timeout: float) -> SimpleNamespace:
        if self._lost:
            raise KafkaException(LOST)
        return SimpleNamespace(brokers={1: "a broker"})

    def poll(self, timeout: float) -> int:
        return 0


def test_an_admin_without_brokers_is_answered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "AdminClient", LostLibrary)
    monkeypatch.setattr(LostLibrary, "made", 0)
    asked = KafkaAdmin(KafkaAddress(NOWHERE, request_s=0.0))
    with pytest.raises(UnavailableError, match="transport failure"):
        asked.brokers()
    assert asked.brokers() == 1
    assert LostLibrary.made == 2


def test_an_admin_whose_brokers_are_unreachable_waits_with_the_same_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admin, "AdminClient", LostLibrary)
    monkeypatch.setattr(LostLibrary, "made", 0)
    asked = KafkaAdmin(KafkaAddress(NOWHERE, request_s=600.0))
    for _ in range(3):
        with pytest.raises(UnavailableError, match="transport failure"):
            asked.brokers()
    assert LostLibrary.made == 1
