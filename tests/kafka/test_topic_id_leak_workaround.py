"""What the client library forgets to give back is given back, and nothing else."""

from __future__ import annotations

import ctypes
import sys
import weakref
from typing import Final

from confluent_kafka.admin import AdminClient

from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.topic_id_leak_workaround import topic_id
from servers.records import PATIENCE_S
from tests.kafka.topics import make

# And by the question how many hold it.
HELD_BY_ITS_DESCRIPTION: Final = 2


class Id:
    """One that tells when it is gone."""

    def __str__(self) -> str:
        return "the id"


class Described:
    def __init__(self, told: Id) -> None:
        self.topic_id = told


def lost_by_the_library(told: object) -> None:
    keep = ctypes.pythonapi.Py_IncRef
    keep.argtypes, keep.restype = [ctypes.py_object], None
    keep(told)


def test_an_id_that_the_library_lost_goes_with_its_description() -> None:
    described = Described(Id())
    gone = weakref.ref(described.topic_id)
    lost_by_the_library(described.topic_id)
    assert topic_id(described) == "the id"
    assert topic_id(described) == "the id"
    assert gone() is not None
    del described
    assert gone() is None


def test_an_id_of_a_library_that_loses_none_stays_with_its_description() -> None:
    described = Described(Id())
    gone = weakref.ref(described.topic_id)
    for _ in range(3):
        assert topic_id(described) == "the id"
    assert gone() is not None
    del described
    assert gone() is None


def test_nobody_but_its_description_holds_an_id(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}.told")
    admin = KafkaAdmin(KafkaAddress(kafka))  # a request ends with its client
    told = admin.describing(topic).result(PATIENCE_S)
    assert topic_id(told) == str(told.topic_id)
    held = sys.getrefcount(told.topic_id)
    assert held == HELD_BY_ITS_DESCRIPTION
