"""The implementations that the contract runs on: add a new one here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.topics.kafka import KafkaTopics
from dagmanager.topics.memory import MemoryTopics
from dagmanager.topics.sqlite import SqliteTopics
from tests.waiting import TIMEOUT_S

pytest.register_assert_rewrite("tests.topics.contract")

from tests.topics.contract import Broker  # noqa: E402 - its asserts are rewritten only from here on


@pytest.fixture(
    params=[
        "memory",
        "memory, slow",
        "sqlite",
        "sqlite, slow",
        pytest.param("kafka", marks=pytest.mark.live("kafka")),
    ]
)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    if request.param == "kafka":
        # Requested here, so that the embedded ones need no broker.
        yield KafkaTopics(KafkaAdmin(KafkaAddress(request.getfixturevalue("kafka"), request_s=TIMEOUT_S)))
        return
    ready_after = 2 if "slow" in request.param else 0
    if request.param.startswith("memory"):
        yield MemoryTopics(brokers=2, ready_after=ready_after)
        return
    file = SqliteFile(tmp_path / "topics.sqlite")
    yield SqliteTopics(file, brokers=2, ready_after=ready_after)
    file.close()


@pytest.fixture
def named() -> Callable[[str], str]:
    """Topic names unique to this test: several tests share a real broker."""
    prefix = uuid4().hex[:12]
    return lambda name: f"{prefix}-{name}"
