"""What fails on cue: a process that dies at its n-th touch of the world, and unkind brokers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, CreateStatus, TopicConfig, TopicInfo, Topics
from dagmanager.errors import UnavailableError


class CrashedError(Exception):
    """The process is gone: no code of the product may catch this."""


class Fuse:
    """Blows at the `left`-th point passed (the first `only`, where that is given); after that every point blows,
    as in a dead process. Never without `left`. `chaos.ports` makes the points."""

    def __init__(self, left: int | None = None, only: str = "") -> None:
        self.left = left
        self.only = only
        self.passed = 0
        self.at = ""
        self.raises: Callable[[str], Exception] = CrashedError
        self._lock = threading.Lock()

    def __call__(self, point: str) -> None:
        with self._lock:
            self.passed += 1
            if self.left is None or (self.only and not self.at and point != self.only):
                return
            self.left -= 1
            if self.left <= 0:
                self.at = self.at or point
                raise self.raises(point)


@dataclass
class UnkindTopics:
    """A broker that refuses names with `refuses` in them, and loses its first `silences` answers.

    `vague` first answers are AMBIGUOUS although only half of the topics were created.
    """

    inner: Topics
    refuses: str = ""
    silences: int = 0
    vague: int = 0

    def brokers(self) -> int:
        return self.inner.brokers()

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        return self.inner.describe(topics)

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        return self.inner.configs(topics)

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        refused = {topic for topic in specs if self.refuses and self.refuses in topic}
        if self.vague > 0:
            self.vague -= 1
            half = sorted(set(specs) - refused)[::2]
            self.inner.create({topic: specs[topic] for topic in half})
            return {topic: CreateResult(CreateStatus.AMBIGUOUS, "timed out") for topic in specs}
        answers = dict(self.inner.create({topic: specs[topic] for topic in specs if topic not in refused}))
        if self.silences > 0:
            self.silences -= 1
            msg = "no answer in time"
            raise UnavailableError(msg)
        return answers | {topic: CreateResult(CreateStatus.REFUSED, "policy violation") for topic in refused}
