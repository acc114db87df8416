"""The id of a described topic, without the memory that confluent-kafka leaks with each one.

confluent-kafka 2.16.1 keeps one reference too many to the `Uuid` of every topic description: about 100 bytes for each
description of each topic, never freed. A flow that watches ten thousand topics leaked gigabytes in a week.

The workaround drops that reference. A reference dropped by mistake is a use-after-free, so it runs only with the exact
versions it was verified with (`tests/kafka/test_topic_id_leak_workaround.py` asks a real broker). With any other version
ids are read as they are, and leaked ones are counted. Remove this module once the library is fixed.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
import threading
from typing import Final, Protocol

import confluent_kafka

logger = logging.getLogger("dagmanager.kafka")

# confluent-kafka, librdkafka, interpreter: the three that decide how many references there are.
VERIFIED: Final = ("2.16.1", "2.16.0", "CPython 3.11")
# Without a leak: the description, the local variable `found`, and the argument of `getrefcount`.
EXPECTED_REFERENCES: Final = 3

_drop_reference = ctypes.pythonapi.Py_DecRef
_drop_reference.argtypes = [ctypes.py_object]
_drop_reference.restype = None


class Described(Protocol):
    """The part of `confluent_kafka.admin.TopicDescription` that is read here."""

    @property
    def topic_id(self) -> object:
        """A `confluent_kafka.Uuid`."""


def running_versions() -> tuple[str, str, str]:
    """The versions of this process, in the order of `VERIFIED`."""
    python = f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}"
    return (str(confluent_kafka.version()), str(confluent_kafka.libversion()[0]), python)


class TopicIds:
    """Reads ids of topic descriptions, and drops or counts the references that the library leaked. Thread-safe."""

    def __init__(self, versions: tuple[str, str, str]) -> None:
        """`versions` as `running_versions` gives them: they decide whether references are dropped."""
        self._versions = versions
        self._drops = versions == VERIFIED
        self._lock = threading.Lock()
        self._leaked = 0

    def leaked(self) -> int:
        """How many references were found leaked and left alone since the start. Does not block."""
        return self._leaked

    def read(self, described: Described) -> str:
        """The id as Kafka's own tools print it (22 characters of base64).

        `described` must come fresh from the library, with no other holder of its id. Reading twice is harmless where
        references are dropped; where they are counted, the second read counts the same reference again.
        """
        found = described.topic_id
        if sys.getrefcount(found) > EXPECTED_REFERENCES:
            if self._drops:
                _drop_reference(found)
            else:
                self._count()
        return str(found)

    def _count(self) -> None:
        with self._lock:
            self._leaked += 1
            is_first = self._leaked == 1
        if is_first:
            logger.warning(
                "memory leak: confluent-kafka %s with librdkafka %s on %s keeps about 100 bytes for each topic "
                "description; the workaround runs only with %s, %s and %s. "
                "dagmanager_kafka_leaked_topic_ids_total counts them",
                *self._versions,
                *VERIFIED,
            )


# One for the process: the leak is the process's, too.
TOPIC_IDS: Final = TopicIds(running_versions())
