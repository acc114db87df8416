"""A flow that dies by kill -9 while it provisions: right before, or right after, the broker made its topics."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from bytewax.run import cli_main

from dagmanager.assembly import assemble_over
from dagmanager.connect import connect_broker, connect_graph
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, TopicConfig, TopicInfo, Topics
from dagmanager.settings.source import load
from flows.recovery import Reading, prepared
from flows.stop import Stop
from flows.submissions import from_topics


class DeadlyTopics:
    """The broker's topics, the first creation of which is the last thing this process does."""

    def __init__(self, topics: Topics, moment: str) -> None:
        self._topics, self._moment = topics, moment

    def create(self, topics: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        if self._moment == "after":
            self._topics.create(topics)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")

    def brokers(self) -> int:
        return self._topics.brokers()

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        return self._topics.describe(topics)

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        return self._topics.configs(topics)


def main(moment: str, recovery: str) -> None:
    settings, _ = load(None, os.environ)
    graph, broker = connect_graph(settings, create=True), connect_broker(settings, create=True)
    topics = DeadlyTopics(broker.topics, moment)
    parts = assemble_over(settings, graph, topics, broker.events, broker.admin_log)
    flow, _ = from_topics(replace(parts, broker=broker), broker, Stop())
    with prepared(Path(recovery), flow, Reading(f"topic {settings.submissions_topic}")) as config:
        cli_main(flow, epoch_interval=timedelta(seconds=0.5), recovery_config=config)


if __name__ == "__main__":
    main(*sys.argv[1:])
