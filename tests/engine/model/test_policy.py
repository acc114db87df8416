from __future__ import annotations

import pytest

from dagmanager.engine.model.policy import (
    DAY_MS,
    INDICATOR,
    KEEP_MS,
    MIN_GRACE_MS,
    RAW,
    TRADE_EXEC,
    Collection,
    Policy,
)
from dagmanager.engine.model.rows import TopicSpec

POLICY = Policy()
DEV = Policy(cap_replication=True)


@pytest.mark.parametrize(
    ("topic_type", "partitions", "replication", "days"),
    [(RAW, 3, 3, 7), (INDICATOR, 1, 2, 30), (TRADE_EXEC, 1, 3, 90)],
)
def test_topics_are_as_table_t_2_says(topic_type: str, partitions: int, replication: int, days: int) -> None:
    expected = TopicSpec(partitions, replication, days * DAY_MS, "delete")
    assert POLICY.topic_spec(topic_type, brokers=1) == expected
    assert POLICY.topic_spec(topic_type, brokers=9) == expected
    for brokers in range(5):
        assert DEV.topic_spec(topic_type, brokers).replication == min(replication, max(brokers, 1))
    safe = POLICY.topic_spec(topic_type, brokers=3, safe=True)
    assert safe == TopicSpec(partitions, replication, DAY_MS, "delete")


def test_a_topic_type_without_a_row_is_treated_as_an_indicator() -> None:
    assert POLICY.topic_spec("unknown", 3) == POLICY.topic_spec(INDICATOR, 3)


@pytest.mark.parametrize(
    ("node_type", "topic_type"),
    [
        ("TradeOrderPublisherNode", TRADE_EXEC),
        ("ExecutionNode", TRADE_EXEC),
        ("PortfolioNode", TRADE_EXEC),
        ("order_stream", TRADE_EXEC),
        ("raw_trades", TRADE_EXEC),
        ("StreamInput", RAW),
        ("PRICE", RAW),
        ("ohlcv", RAW),
        ("RawTicks", RAW),
        ("input", RAW),
        ("Node", INDICATOR),
        ("ProcessingNode", INDICATOR),
        ("TagQueryNode", INDICATOR),
        ("", INDICATOR),
    ],
)
def test_the_type_follows_from_words_in_the_node_type(node_type: str, topic_type: str) -> None:
    assert POLICY.topic_type(node_type) == topic_type


def test_an_override_takes_precedence_over_the_words() -> None:
    policy = Policy(type_overrides=(("ReorderNode", INDICATOR), ("indicator", RAW)))
    assert policy.topic_type("reordernode") == INDICATOR
    assert policy.topic_type("ReorderNode2") == TRADE_EXEC
    assert policy.topic_type("Indicator") == RAW


@pytest.mark.parametrize(
    ("tag", "ttl_days", "grace_days", "action"),
    [("raw", 7, 1, "delete"), ("indicator", 30, 3, "delete"), ("sentinel", 180, 30, "archive")],
)
def test_collection_is_as_table_g1_says(tag: str, ttl_days: int, grace_days: int, action: str) -> None:
    row = POLICY.collection(tag)
    assert row == Collection(ttl_days * DAY_MS, grace_days * DAY_MS, action)
    assert (POLICY.ttl_ms(tag), POLICY.grace_ms(tag)) == (ttl_days * DAY_MS, grace_days * DAY_MS)


@pytest.mark.parametrize("tag", ["trade_exec", "unknown", ""])
def test_a_tag_without_a_policy_is_kept_for_ever(tag: str) -> None:
    assert POLICY.collection(tag) is None
    assert POLICY.ttl_ms(tag) == POLICY.grace_ms(tag) == KEEP_MS < 0


def test_no_setting_goes_below_the_shortest_grace() -> None:
    policy = Policy(collections=((RAW, Collection(0, 0)),))
    assert policy.grace_ms(RAW) == MIN_GRACE_MS == 600_000


@pytest.mark.parametrize(
    ("tags", "topic_type", "tag"),
    [
        ((), RAW, RAW),
        (("btc",), INDICATOR, INDICATOR),
        (("btc",), TRADE_EXEC, TRADE_EXEC),
        (("btc", "sentinel"), INDICATOR, "sentinel"),
        (("btc", "raw", "sentinel"), INDICATOR, "raw"),
        (("RAW",), INDICATOR, INDICATOR),
        (("trade_exec", "raw"), INDICATOR, "raw"),
    ],
)
def test_the_first_policy_name_among_the_tags_counts(
    tags: tuple[str, ...], topic_type: str, tag: str
) -> None:
    assert POLICY.queue_tag(tags, topic_type) == tag
