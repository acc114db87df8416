"""The observer counts under the exact metric names of docs/requirements.md (M6, M7, M8)."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from dagmanager.dag.model import TagQuery
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.kafka.progress import PartitionProgress, TopicProgress
from dagmanager.metrics import LABELS_MAX, LeakedTopicIdsCollector, ProgressCollector, PrometheusObserver
from tests.graph.builders import queue


@pytest.fixture
def observer() -> PrometheusObserver:
    return PrometheusObserver(CollectorRegistry())


def value(observer: PrometheusObserver, name: str, **labels: str) -> float | None:
    return observer.registry.get_sample_value(name, labels)


def test_a_wrong_id_counts_by_node_type_and_as_drift(observer: PrometheusObserver) -> None:
    observer.refused(
        Rejection(ErrorCode.NODE_ID_MISMATCH, "", details=({"node_type": "Node"}, {"node_type": "Node"}))
    )
    assert value(observer, "nodeid_mismatch_total", node_type="Node") == 2
    assert value(observer, "nodeid_drift_total") == 2
    assert value(observer, "tagquery_nodeid_mismatch_total") == 0


def test_a_wrong_id_of_a_tag_query_counts_twice(observer: PrometheusObserver) -> None:
    observer.refused(Rejection(ErrorCode.NODE_ID_MISMATCH, "", details=({"node_type": "TagQueryNode"},)))
    assert value(observer, "nodeid_mismatch_total", node_type="TagQueryNode") == 1
    assert value(observer, "tagquery_nodeid_mismatch_total") == 1


def test_missing_fields_count_by_field_and_node_type(observer: PrometheusObserver) -> None:
    details = ({"missing": "code_hash", "node_type": "Node"},)
    observer.refused(Rejection(ErrorCode.MISSING_FIELDS, "", details=details))
    assert value(observer, "nodeid_missing_fields_total", field="code_hash", node_type="Node") == 1


def test_a_wrong_checksum_and_a_foreign_context_are_counted(observer: PrometheusObserver) -> None:
    observer.refused(Rejection(ErrorCode.CRC_MISMATCH, ""))
    observer.refused(Rejection(ErrorCode.CROSS_CONTEXT, "", details=({"node_id": "a"}, {"node_id": "b"})))
    assert value(observer, "nodeid_checksum_mismatch_total") == 1
    assert value(observer, "cross_context_cache_hit_total") == 2


def test_a_lost_topic_is_counted_by_reason_and_named_in_the_log(
    observer: PrometheusObserver, caplog: pytest.LogCaptureFixture
) -> None:
    observer.lost(queue("w1.live.btc", "blake3:a", "w1.live"), "gone")
    assert value(observer, "dagmanager_lost_topics_total", why="gone") == 1
    [line] = caplog.messages
    assert line.startswith("topic w1.live.btc of node blake3:a in namespace 'w1.live' is gone")


def test_answers_records_times_and_tag_queries_are_counted(observer: PrometheusObserver) -> None:
    observer.answered("ok")
    observer.foreign("gateway.rebalance")
    observer.hashed(3.0)
    observer.tag_query("blake3:a", TagQuery(("btc",), "any", 60), 4)
    assert value(observer, "dagmanager_submissions_total", status="ok") == 1
    assert value(observer, "dagmanager_foreign_records_total", kind="gateway.rebalance") == 1
    assert value(observer, "nodeid_recompute_duration_ms_count") == 1
    assert value(observer, "tagquery_resolved_queues_sum") == 4


def test_labels_that_clients_choose_stay_bounded(observer: PrometheusObserver) -> None:
    for number in range(LABELS_MAX + 5):
        observer.foreign(f"kind-{number}")
    assert value(observer, "dagmanager_foreign_records_total", kind="other") == 5


def test_retrying_workers_are_counted_by_step(observer: PrometheusObserver) -> None:
    observer.waiting("upsert", "Kafka is unreachable")
    observer.waiting("upsert", "Kafka is unreachable")
    assert value(observer, "dagmanager_waiting", step="upsert") == 2
    observer.waiting("upsert", "")
    observer.waiting("upsert", "")
    assert value(observer, "dagmanager_waiting", step="upsert") == 0


def test_progress_is_exported_as_far_as_it_is_known() -> None:
    partitions = (PartitionProgress(0, 3, 7), PartitionProgress(4, 9, None), PartitionProgress(5, None, 2))
    registry = CollectorRegistry()
    registry.register(ProgressCollector(lambda: TopicProgress("t", reachable=False, partitions=partitions)))

    def sample(name: str, partition: str) -> float | None:
        return registry.get_sample_value(name, {"partition": partition})

    assert [sample("dagmanager_submissions_lag", each) for each in "045"] == [4, None, None]
    assert [sample("dagmanager_submissions_offset", each) for each in "045"] == [3, 9, None]
    assert registry.get_sample_value("dagmanager_kafka_reachable") == 0


def test_a_dropped_event_counts_by_channel(observer: PrometheusObserver) -> None:
    observer.event_dropped("queue")
    assert value(observer, "dagmanager_events_dropped_total", channel="queue") == 1


def test_leaked_topic_ids_are_counted_as_of_the_scrape() -> None:
    registry, leaked = CollectorRegistry(), [0]
    registry.register(LeakedTopicIdsCollector(lambda: leaked[0]))
    assert registry.get_sample_value("dagmanager_kafka_leaked_topic_ids_total") == 0
    leaked[0] = 3
    assert registry.get_sample_value("dagmanager_kafka_leaked_topic_ids_total") == 3
