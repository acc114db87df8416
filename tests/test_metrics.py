"""The observer counts under the exact metric names of docs/requirements.md (M6, M7, M8)."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.outcome import encode
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Refused
from dagmanager.errors import ErrorCode, Rejection, fault_counts
from dagmanager.kafka.progress import PartitionProgress, TopicProgress
from dagmanager.metrics import LABELS_MAX, LeakedTopicIdsCollector, ProgressCollector, PrometheusObserver
from tests.dag import made
from tests.engine.builders import Stores, engine, submission
from tests.graph.builders import queue


@pytest.fixture
def observer() -> PrometheusObserver:
    return PrometheusObserver(CollectorRegistry())


def value(observer: PrometheusObserver, name: str, **labels: str) -> float | None:
    return observer.registry.get_sample_value(name, labels)


def counted(finding: tuple[ErrorCode, str, object], number: int = 1) -> Rejection:
    return Rejection(finding[0], "", counts=fault_counts([finding] * number))


def refusal(*nodes: dict[str, Any]) -> Rejection:
    [found] = Reader(ReadOptions()).read(made.request(made.dag(*nodes)))
    assert isinstance(found, Refused)
    return found.rejection


def test_all_findings_of_a_submission_count_and_not_only_those_that_are_listed(
    observer: PrometheusObserver,
) -> None:
    wrong = [made.node(period=at, node_id="blake3:" + f"{at:064x}") for at in range(150)]
    found = refusal(*wrong)
    observer.refused(found)
    assert len(found.details) == 100
    assert value(observer, "nodeid_mismatch_total", node_type="Node") == 150
    observer.refused(refusal(*(each | {"code_hash": ""} for each in wrong)))
    assert value(observer, "nodeid_missing_fields_total", field="code_hash", node_type="Node") == 150
    keyed = [made.node(period=at, compute_key="blake3:" + "0" * 64) for at in range(150)]
    observer.refused(refusal(*keyed))
    assert value(observer, "cross_context_cache_hit_total") == 150


@pytest.mark.parametrize("where", ["node", "params"])
def test_a_tag_query_counts_the_queues_of_its_interval_wherever_it_is_named(
    observer: PrometheusObserver, where: str
) -> None:
    one = engine(Stores(), observer=observer)
    interval = (
        {"interval": 60, "params": {}} if where == "node" else {"interval": None, "params": {"interval": 60}}
    )
    query = made.node(node_type="TagQueryNode", tags=["btc"], **interval)
    one.submit([submission([made.node(tags=["btc"])], position=1)])
    one.submit([submission([query], position=2, strategy="s2", lineage="beta")])
    assert value(observer, "tagquery_resolved_queues_sum") == 1


def test_a_right_digest_in_upper_case_is_a_wrong_id_and_missing_fields_beside_it_count(
    observer: PrometheusObserver,
) -> None:
    upper = made.node() | {"node_id": "blake3:" + made.node()["node_id"][7:].upper(), "code_hash": ""}
    found = refusal(upper)
    assert found.code is ErrorCode.INVALID_FIELD
    observer.refused(found)
    assert value(observer, "nodeid_drift_total") == 1
    assert value(observer, "nodeid_mismatch_total", node_type="Node") == 1
    assert value(observer, "nodeid_missing_fields_total", field="code_hash", node_type="Node") == 1


@pytest.mark.parametrize("odd", [2**64, 10**400, [], {}, None, "\x00" * 5_000])
def test_a_node_type_of_any_kind_is_a_label(observer: PrometheusObserver, odd: object) -> None:
    observer.refused(refusal(made.node() | {"node_type": odd, "node_id": 7, "code_hash": None}))
    assert value(observer, "nodeid_drift_total") == 1
    assert b"\x00" not in generate_latest(observer.registry)
    assert len(generate_latest(observer.registry)) < 20_000


def test_counts_are_no_part_of_a_stored_refusal() -> None:
    found = counted((ErrorCode.NODE_ID_MISMATCH, "node_id", "Node"))
    assert encode(found) == encode(Rejection(ErrorCode.NODE_ID_MISMATCH, ""))
    assert "counts" not in found.as_json()


def test_a_wrong_id_counts_by_node_type_and_as_drift(observer: PrometheusObserver) -> None:
    observer.refused(counted((ErrorCode.NODE_ID_MISMATCH, "node_id", "Node"), 150))
    assert value(observer, "nodeid_mismatch_total", node_type="Node") == 150
    assert value(observer, "nodeid_drift_total") == 150
    assert value(observer, "tagquery_nodeid_mismatch_total") == 0


def test_a_wrong_id_of_a_tag_query_counts_twice(observer: PrometheusObserver) -> None:
    observer.refused(counted((ErrorCode.NODE_ID_MISMATCH, "node_id", "TagQueryNode")))
    assert value(observer, "nodeid_mismatch_total", node_type="TagQueryNode") == 1
    assert value(observer, "tagquery_nodeid_mismatch_total") == 1


def test_missing_fields_count_by_field_and_node_type(observer: PrometheusObserver) -> None:
    observer.refused(counted((ErrorCode.MISSING_FIELDS, "code_hash", "Node"), 101))
    assert value(observer, "nodeid_missing_fields_total", field="code_hash", node_type="Node") == 101


def test_a_wrong_checksum_and_a_foreign_context_are_counted(observer: PrometheusObserver) -> None:
    observer.refused(Rejection(ErrorCode.CRC_MISMATCH, ""))
    observer.refused(counted((ErrorCode.CROSS_CONTEXT, "compute_key", ""), 2))
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


def test_the_tags_of_a_query_break_no_log_line(
    observer: PrometheusObserver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    observer.tag_query(
        "blake3:a", TagQuery(("\x1b[2J\n", "x" * 1_000_000, *map(str, range(9_999))), "any", 60), 4
    )
    [line] = caplog.messages
    assert line.isprintable()
    assert len(line) < 10_000


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
