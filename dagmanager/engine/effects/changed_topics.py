"""Finds active queues whose topic has other settings than it was created with: partitions, retention, cleanup policy.

Another program or a person may change a topic at any time, and submissions never ask the broker for topics that they
reuse. What this watch finds is stored with the queue, so that every answer that names the topic warns (docs/semantics.md
7, Changed topics). Nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from dagmanager.engine.model.graph_port import Graph, Locks, Transaction
from dagmanager.engine.model.rows import QueueRow, QueueState, TopicSpec
from dagmanager.engine.model.topics_port import TopicConfig, TopicInfo, Topics

# Topics in one round: a broker needs 1 s for the settings of 1,000 topics.
PAGE: Final = 50


@dataclass
class ChangedTopicWatch:
    """Where the watch is between its rounds; not safe between threads. `page` is the number of topics in one round."""

    page: int = PAGE
    _after: str = ""

    def look(self, graph: Graph, topics: Topics) -> tuple[QueueRow, ...]:
        """One round over the next page of queues; those that this process marked or cleared.

        Blocks for two requests and, when something changed, a transaction. Raises `UnavailableError`.
        """
        rows = graph.queues_after(self._after, self.page)
        active = {row.topic: row for row in rows if row.state is QueueState.ACTIVE and not row.binding.safe}
        found = topics.describe(sorted(active)) if active else {}
        # A topic with another id is another one: `lost_topics` handles it.
        ours = {topic: info for topic, info in found.items() if active[topic].topic_id in ("", info.topic_id)}
        configs = topics.configs(sorted(ours)) if ours else {}
        # Only now: a round that fails is repeated.
        self._after = rows[-1].topic if len(rows) == self.page else ""
        drifts = {topic: drift(active[topic].spec, ours[topic], config) for topic, config in configs.items()}
        changed = {topic: words for topic, words in drifts.items() if words != active[topic].drift}
        return graph.transact(partial(mark_changed, drifts=changed)) if changed else ()


def drift(spec: TopicSpec, info: TopicInfo, config: TopicConfig) -> str:
    """What the broker has instead of what was asked for, in words; '' when nothing differs."""
    pairs = (
        ("partitions", info.partitions, spec.partitions),
        ("retention_ms", config.retention_ms, max(spec.retention_ms, -1)),
        ("cleanup_policy", config.cleanup_policy, spec.cleanup_policy),
    )
    return ", ".join(f"{name} {found} instead of {asked}" for name, found, asked in pairs if found != asked)


def mark_changed(tx: Transaction, drifts: Mapping[str, str]) -> tuple[QueueRow, ...]:
    """Store the drift of these topics; the rows that changed. Answers that named them are other ones now: the epoch rises."""
    nodes = {row.binding.node_id for row in tx.queues_by_topic(drifts).values()}
    tx.lock(Locks(nodes=tuple(sorted(nodes))))
    changed = [
        msgspec.structs.replace(row, drift=drifts[topic])
        for topic, row in sorted(tx.queues_by_topic(drifts).items())
        if row.state is QueueState.ACTIVE and row.drift != drifts[topic]
    ]
    if changed:
        tx.put(changed)
        tx.raise_epoch()
    return tuple(changed)
