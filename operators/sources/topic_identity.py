"""Checks every few seconds, without blocking, that the topic that is read is still the same one.

A consumer does not notice: it stalls when its topic was deleted, and continues in a new topic of the same name at the
old offset, so that it skips records.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by its stub's rules
    TopicDescription,
)

from dagmanager.engine.model.topics_port import TopicInfo
from dagmanager.errors import InputLostError
from dagmanager.kafka.admin import KafkaAdmin, topic_info
from dagmanager.kafka.client_errors import ABSENT
from operators.store_retry import ignore

logger = logging.getLogger("dagmanager.flow")

EVERY_S: Final = 3.0
# One answer may come from a broker that has just started and does not know all topics yet.
ABSENCES: Final = 2


class TopicIdentityCheck:
    """Shared by the partitions of a source, which may be in several threads."""

    def __init__(
        self,
        admin: KafkaAdmin,
        expected: TopicInfo,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        waits: Callable[[str], None] = ignore,
    ) -> None:
        """`expected` is the topic as it was at the start; the first check is made after `every_s` seconds.

        `waits` is called with the reason while no broker answers, and with `""` when one does again.
        """
        self._admin = admin
        self._expected = expected
        self._every_s = every_s
        self._clock = clock
        self._due = clock() + every_s
        self._asked: Future[TopicDescription] | None = None
        self._absences = 0
        self._grown = False
        self._waits = waits
        self._lost: InputLostError | None = None
        self._lock = threading.Lock()
        self.reachable = True

    def look(self) -> None:
        """Send the next request, or handle its answer, when it is time; never blocks.

        Raises `InputLostError`, and on every later call too, once the topic was deleted or created again.
        """
        if self._lost is not None:
            raise self._lost
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._step()
        finally:
            self._lock.release()

    def _step(self) -> None:
        if self._asked is None:
            if self._clock() >= self._due:
                self._asked = self._admin.describe_async(self._expected.topic)
            return
        if not self._asked.done():
            return
        answer, self._asked = self._asked, None
        self._due = self._clock() + self._every_s
        try:
            self._judge(topic_info(answer.result()))
        except KafkaException as refused:
            self._refused(refused.args[0])

    def _judge(self, now: TopicInfo) -> None:
        self._absences = 0
        self._answered()
        if now.topic_id != self._expected.topic_id:
            self._lose(other_topic(now.topic, self._expected.topic_id, now.topic_id))
        if now.partitions != self._expected.partitions and not self._grown:
            self._grown = True
            logger.warning(
                "topic %s has %d partitions now, %d when the run began: restart to read the new ones",
                now.topic,
                now.partitions,
                self._expected.partitions,
            )

    def _refused(self, error: KafkaError) -> None:
        if error.code() not in ABSENT:
            if self.reachable:
                outage = self._admin.connection_errors.unavailable("asking for the submissions topic", error)
                logger.warning("%s: reading resumes when it answers", outage)
                self._waits(str(outage))
            self.reachable = False
            return
        self._answered()
        self._absences += 1
        if self._absences >= ABSENCES:
            topic = self._expected.topic
            self._lose(
                f"topic {topic} was deleted while it was read: records not yet read are gone. If that was "
                "intended, create it again and start with a new recovery folder"
            )

    def _answered(self) -> None:
        if not self.reachable:
            logger.info("Kafka at %s answers again", self._admin.address.servers)
            self._waits("")
        self.reachable = True

    def _lose(self, message: str) -> None:
        self._lost = InputLostError(message)
        raise self._lost


def other_topic(topic: str, known: str, found: str) -> str:
    """The message for a topic that was deleted and created again."""
    return (
        f"topic {topic} was deleted and created again (its id was {known}, it is {found} now): the offsets "
        "of the old one are invalid. If that was intended, start with a new recovery folder"
    )
