"""What one submission writes, and what it does not (decisions 1, 3-7)."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from dagmanager.engine.rows import (
    Binding,
    ContentRow,
    HolderRow,
    LineageRow,
    NodeRow,
    OutcomeRow,
    QueueRow,
    QueueState,
    SentinelRow,
    SentinelState,
    TagSetRow,
    TopicSpec,
)
from dagmanager.errors import ErrorCode
from tests.engine.builders import (
    DAY_MS,
    POLICY,
    START_MS,
    Stores,
    engine,
    node,
    refused,
    submission,
    submissions,
    tag_query,
    told,
    topics_of,
)

PRICE = node("price", tags=["BTC", "spot"], node_type="PriceInput", schema_hash="h1")
MEAN = node("mean", tags=["BTC"], inputs=[PRICE], schema_hash="m1")
SIGNAL = node("signal", tags=["BTC"], inputs=[MEAN], schema_hash="g1")
OTHER = node("other", tags=["ETH"], schema_hash="o1")


def kinds(stores: Stores) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in stores.all_rows():
        counts[type(row).__name__] = counts.get(type(row).__name__, 0) + 1
    return counts


def by_name(stores: Stores) -> dict[str, QueueRow]:
    """Current queues of the base namespace by their node's name."""
    names = {row.node_id: row.name for row in stores.rows(NodeRow)}
    rows = sorted(stores.rows(QueueRow), key=lambda row: row.incarnation)
    return {names[row.binding.node_id]: row for row in rows if row.binding[1:] == ("", "")}


def payloads(stores: Stores) -> list[dict[str, Any]]:
    return [orjson.loads(row.value)["data"] for row in stores.events.published]


def queue_events(stores: Stores) -> list[dict[str, Any]]:
    return [each for each in payloads(stores) if each["type"] == "QueueUpdated"]


def weight_events(stores: Stores) -> list[tuple[str, float]]:
    return [
        (each["sentinel_version"], each["weight"])
        for each in payloads(stores)
        if each["type"] == "SentinelWeightUpdated"
    ]


def active(stores: Stores) -> dict[str, float]:
    return {
        row.key.version: row.weight for row in stores.rows(SentinelRow) if row.state is SentinelState.ACTIVE
    }


# --- one submission


def test_a_new_dag_writes_nodes_queues_content_sentinel_holder_lineage_and_outcome() -> None:
    stores = Stores()
    one = submission([PRICE, MEAN])
    (answer,) = engine(stores).submit([one])

    assert told(answer).actions.create == 2
    assert topics_of(answer) == [
        row.topic
        for row in sorted(stores.rows(QueueRow), key=lambda r: r.binding.node_id != PRICE["node_id"])
    ]
    assert sorted(stores.topics.names()) == sorted(topics_of(answer))
    rows = kinds(stores)
    assert {name: rows[name] for name in ("NodeRow", "QueueRow", "ContentRow", "SentinelRow")} == {
        "NodeRow": 2,
        "QueueRow": 2,
        "ContentRow": 1,
        "SentinelRow": 1,
    }
    (sentinel,) = stores.rows(SentinelRow)
    assert (sentinel.state, sentinel.weight, sentinel.content) == ("active", 1.0, one.hashed.content_digest)
    assert sentinel.key == ("alpha", "", "v1", 1)
    assert sentinel.sentinel_id == told(answer).sentinel_id == "s1-sentinel"
    assert sorted(sentinel.introduced) == sorted([PRICE["node_id"], MEAN["node_id"]])
    assert sentinel.commit_hash == one.hashed.content_digest
    (holder,) = stores.rows(HolderRow)
    assert (holder.key, holder.sentinel, holder.submission_digest) == (
        ("s1", ""),
        sentinel.key,
        one.submission_digest,
    )
    assert [row.last_at_ms for row in stores.rows(LineageRow)] == [one.at_ms]
    (outcome,) = stores.rows(OutcomeRow)
    assert outcome.topics == told(answer).topics
    (content,) = stores.rows(ContentRow)
    assert {member.name: member.tags for member in content.members} == {
        "price": ("BTC", "spot"),
        "mean": ("BTC",),
    }


def test_an_active_queue_belongs_to_nobody_and_knows_its_broker_id() -> None:
    stores = Stores()
    engine(stores).submit([submission([PRICE])])
    (queue,) = stores.rows(QueueRow)
    assert (queue.state, queue.claim_id, queue.owner) == ("active", "", "")
    assert queue.topic_id == stores.topics.describe([queue.topic])[queue.topic].topic_id
    assert queue.unreferenced_ms is None


def test_every_creation_is_logged_before_it_counts() -> None:
    stores = Stores()
    (answer,) = engine(stores).submit([submission([PRICE, MEAN])])
    assert sorted(entry.topic for entry in stores.log.entries) == sorted(topics_of(answer))


def test_what_later_reasons_need_is_kept() -> None:
    stores = Stores()
    engine(stores).submit([submission([PRICE, node("p", params={"b": 2, "a": 1}, inputs=[PRICE])])])
    row = next(row for row in stores.rows(NodeRow) if row.name == "p")
    assert row.params_canon == '{"a":1,"b":2}'
    assert row.dependencies == (PRICE["node_id"],)


# --- again


def test_a_new_strategy_id_with_the_same_dag_costs_a_holder() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    before = stores.all_rows()
    (answer,) = works.submit([submission([PRICE, MEAN], strategy="s2", position=1)])
    assert told(answer).actions.reuse == 2
    new = [row for row in stores.all_rows() if row not in before]
    assert [type(row) for row in new] == [HolderRow, OutcomeRow]
    assert isinstance(new[1], OutcomeRow)
    assert new[1].body == b""  # no answer is stored, only that there was one


def test_an_identical_resend_is_a_question() -> None:
    stores = Stores()
    works = engine(stores)
    (first,) = works.submit([submission([PRICE, MEAN])])
    rows, events, log = stores.all_rows(), list(stores.events.published), list(stores.log.entries)
    (again,) = works.submit([submission([PRICE, MEAN], position=7, at_ms=START_MS + 5)])
    assert topics_of(again) == topics_of(first)
    assert not again.replayed
    assert (stores.all_rows(), stores.events.published, stores.log.entries) == (rows, events, log)


def test_a_resend_of_what_is_not_in_force_any_more_changes_nothing_either() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], strategy="s2", position=1, at_ms=START_MS + 1)])
    rows = stores.all_rows()
    (again,) = works.submit([submission([PRICE], position=2, at_ms=START_MS + 2)])
    assert told(again).actions.reuse == 1
    assert stores.all_rows() == rows


def test_a_replay_is_answered_from_what_was_stored() -> None:
    stores = Stores()
    one = submission([PRICE, MEAN])
    (first,) = engine(stores).submit([one])
    engine(stores).submit([submission([SIGNAL, PRICE, MEAN], position=1, at_ms=START_MS + 1)])
    rows = stores.all_rows()
    (again,) = engine(stores, "two").submit([one])
    assert again.replayed
    assert again.result == first.result
    assert stores.all_rows() == rows


def test_a_replay_whose_queues_went_is_expired() -> None:
    stores = Stores()
    one = submission([PRICE])
    engine(stores).submit([one])
    (queue,) = stores.rows(QueueRow)
    stores.put(msgspec.structs.replace(queue, state=QueueState.CONDEMNED))
    (again,) = engine(stores).submit([one])
    assert refused(again).code is ErrorCode.EXPIRED
    assert refused(again).got == queue.topic


def test_the_replay_of_a_plain_answer_never_undoes_what_came_after() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    plain = submission([PRICE], strategy="s2", position=1)
    (first,) = works.submit([plain])
    works.submit([submission([PRICE, MEAN], strategy="s2", position=2)])  # in the same millisecond
    rows = stores.all_rows()
    (again,) = works.submit([plain])
    assert again.result == first.result
    assert stores.all_rows() == rows


def test_a_warning_is_told_again_to_a_replay() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    lone = submission([PRICE], strategy="s2", weight=0.4, position=1)
    (first,) = works.submit([lone])
    assert [each.code for each in told(first).warnings] == ["only_version"]
    (again,) = works.submit([lone])
    assert again.result == first.result


def test_a_replayed_weight_is_not_set_again() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], version="v2", weight=0.5, position=1)])
    low = submission([PRICE, MEAN], version="v2", weight=0.2, position=2)
    works.submit([low])
    works.submit([submission([PRICE, MEAN], version="v2", weight=0.7, position=3)])
    assert active(stores) == pytest.approx({"v1": 0.3, "v2": 0.7})
    works.submit([low])
    assert active(stores) == pytest.approx({"v1": 0.3, "v2": 0.7})


def test_a_dry_run_is_answered_and_never_written() -> None:
    stores = Stores()
    works = engine(stores)
    (answer,) = works.submit([submission([PRICE], strategy="dryrun")])
    assert told(answer).dry_run
    assert told(answer).actions.create == 1
    assert stores.all_rows() == ()
    (real,) = works.submit([submission([PRICE], position=1)])
    assert topics_of(real) == topics_of(answer)


# --- worlds


def test_one_outcome_per_world() -> None:
    stores = Stores()
    answers = engine(stores).submit(submissions([PRICE], worlds=["w1", "w2"]))
    assert [topics_of(each)[0].split(".")[:2] for each in answers] == [["w1", "live"], ["w2", "live"]]
    base = {topics_of(each)[0].split(".", 2)[2] for each in answers}
    assert len(base) == 1
    assert [told(each).actions.create for each in answers] == [1, 1]
    assert kinds(stores)["NodeRow"] == 1
    assert len(stores.outcomes()) == 2
    assert {row.key.namespace for row in stores.rows(SentinelRow)} == {"w1.live", "w2.live"}


# --- names


def test_folded_twins_get_names_that_no_broker_confuses() -> None:
    stores = Stores()
    low, high = (
        node("a", code="1", tags=["x"], node_type="Mean.A"),
        node("b", code="2", tags=["x"], node_type="mean_a"),
    )
    answers = engine(stores).submit([submission([low, high])])
    folded = {topic.lower().replace(".", "_") for topic in topics_of(answers[0])}
    assert len(folded) == 2


def test_a_name_is_made_longer_when_its_short_hash_is_taken() -> None:
    stores = Stores()
    (first,) = engine(stores).submit([submission([PRICE])])
    (taken,) = stores.rows(NodeRow)
    stores = Stores()
    twin = msgspec.structs.replace(taken, node_id="blake3:" + "0" * 64, base_name=taken.base_name.upper())
    stores.put(twin)
    (second,) = engine(stores).submit([submission([PRICE])])
    short, longer = topics_of(first)[0].split("_")[2], topics_of(second)[0].split("_")[2]
    assert longer.startswith(short)
    assert len(longer) == len(short) + 2


def test_a_name_that_was_ever_used_is_never_used_again() -> None:
    stores = Stores()
    (first,) = engine(stores).submit([submission([PRICE])])
    (queue,) = stores.rows(QueueRow)
    for number, state in enumerate([QueueState.DROPPED, QueueState.FAILED, QueueState.LOST], start=2):
        current = max(stores.rows(QueueRow), key=lambda row: row.incarnation)
        stores.put(msgspec.structs.replace(current, state=state))
        (again,) = engine(stores).submit(
            [submission([PRICE], strategy=f"s{number}", position=number, at_ms=START_MS + number)]
        )
        assert topics_of(again) == [f"{topics_of(first)[0]}_v{number}"]
        assert told(again).actions.create == 1
    assert {row.topic for row in stores.rows(QueueRow)} == {
        queue.topic,
        *(f"{queue.topic}_v{n}" for n in (2, 3, 4)),
    }


def test_a_tombstone_of_somebody_else_is_stepped_over() -> None:
    stores = Stores()
    (first,) = engine(stores).submit([submission([PRICE])])
    (queue,) = stores.rows(QueueRow)
    stores.put(
        msgspec.structs.replace(queue, state=QueueState.DROPPED),
        msgspec.structs.replace(
            queue,
            topic=f"{queue.topic}_V2",
            binding=Binding("blake3:" + "1" * 64, ""),
            state=QueueState.DROPPED,
        ),
    )
    (again,) = engine(stores).submit([submission([PRICE], strategy="s2", position=1)])
    assert topics_of(again) == [f"{topics_of(first)[0]}_v3"]


def test_a_resurrected_queue_inherits_its_ttl() -> None:
    stores = Stores()
    engine(stores).submit([submission([PRICE])])
    (queue,) = stores.rows(QueueRow)
    assert queue.ttl_ms == POLICY.ttl_ms("raw")
    stores.put(msgspec.structs.replace(queue, state=QueueState.DROPPED, ttl_ms=1234))
    engine(stores).submit([submission([PRICE], strategy="s2", position=1)])
    assert {row.incarnation: row.ttl_ms for row in stores.rows(QueueRow)} == {1: 1234, 2: 1234}


def test_a_foreign_topic_under_our_name_is_left_alone() -> None:
    stores = Stores()
    (wanted,) = topics_of(engine(Stores()).submit([submission([PRICE])])[0])
    stores.topics.create({wanted: TopicSpec(1, 1, 5)})
    (answer,) = engine(stores).submit([submission([PRICE])])
    assert topics_of(answer) == [f"{wanted}_v2"]
    assert stores.topics.configs([wanted])[wanted].retention_ms == 5
    assert stores.queues()[wanted].state is QueueState.FAILED


# --- lineage order


def test_an_older_record_never_undoes_a_newer_one() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE], at_ms=START_MS + 10)])
    rows = stores.all_rows()
    (late,) = works.submit([submission([MEAN, PRICE], strategy="s2", at_ms=START_MS + 9, position=1)])
    assert refused(late).code is ErrorCode.LATE
    assert stores.all_rows() == rows


def test_an_older_record_of_the_content_in_force_is_welcome() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE], at_ms=START_MS + 10)])
    (answer,) = works.submit([submission([PRICE], strategy="s2", at_ms=START_MS + 9, position=1)])
    assert told(answer).actions.reuse == 1
    assert stores.rows(LineageRow)[0].last_at_ms == START_MS + 10


def test_other_lineages_and_namespaces_have_their_own_order() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE], at_ms=START_MS + 10)])
    for position, where in enumerate([{"lineage": "beta"}, {"world": "w1"}], start=1):
        (answer,) = works.submit(
            [submission([MEAN, PRICE], strategy=f"t{position}", position=position, **where)]
        )
        assert len(topics_of(answer)) == 2


# --- versions and weights


def test_a_canary_shares_the_weight_and_promotion_ends_it() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], strategy="s2", version="v2", weight=0.1, position=1)])
    assert active(stores) == pytest.approx({"v1": 0.9, "v2": 0.1})
    works.submit([submission([PRICE, MEAN], strategy="s2", version="v2", weight=1.0, position=2)])
    assert active(stores) == {"v2": 1.0}
    assert sorted(weight_events(stores)) == sorted(
        [("v1", 1.0), ("v1", 0.9), ("v2", 0.1), ("v1", 0.0), ("v2", 1.0)]
    )


def test_one_strategy_id_announces_every_weight_of_all_its_versions() -> None:
    """Versions of one strategy id share a stream: none of their events may outdate another's."""
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], position=1)])
    works.submit([submission([PRICE, OTHER], version="v2", position=2)])
    assert sorted(weight_events(stores)) == [("v1", 0.0)] * 2 + [("v1", 1.0)] * 2 + [("v2", 1.0)]
    etags = [each["etag"] for each in payloads(stores) if "weight" in each]
    assert len(set(etags)) == len(etags)


def test_a_third_version_is_refused_and_writes_nothing() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], version="v2", weight=0.1, position=1)])
    rows = stores.all_rows()
    (third,) = works.submit([submission([OTHER], version="v3", weight=0.1, position=2)])
    assert refused(third).code is ErrorCode.TOO_MANY_VERSIONS
    assert stores.all_rows() == rows


def test_the_next_revision_supersedes_the_previous_one() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], position=1)])
    states = {row.key.revision: (row.state, row.weight) for row in stores.rows(SentinelRow)}
    assert states == {1: ("superseded", 0.0), 2: ("active", 1.0)}


def test_a_content_that_was_in_force_comes_back_as_itself() -> None:
    stores = Stores()
    works = engine(stores)
    for position, nodes in enumerate([[PRICE], [PRICE, MEAN], [PRICE]]):
        works.submit([submission(nodes, position=position, at_ms=START_MS + position)])
    states = {row.key.revision: (row.state, row.weight) for row in stores.rows(SentinelRow)}
    assert states == {1: ("active", 1.0), 2: ("superseded", 0.0)}


# --- references


def test_a_queue_that_leaves_the_last_content_is_free_and_taken_up_again() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    stores.clock.now_ms += 50
    works.submit([submission([PRICE, SIGNAL | {}], position=1)])
    queues = by_name(stores)
    # SIGNAL depends on MEAN, which is not in the DAG any more: an outside dependency still holds it.
    assert {name: row.unreferenced_ms for name, row in queues.items()} == {
        "price": None,
        "mean": None,
        "signal": None,
    }
    works.submit([submission([PRICE], position=2)])
    queues = by_name(stores)
    assert queues["price"].unreferenced_ms is None
    assert queues["mean"].unreferenced_ms == queues["signal"].unreferenced_ms == stores.clock.now_ms
    works.submit([submission([PRICE, SIGNAL], position=3)])
    assert {row.unreferenced_ms for row in by_name(stores).values()} == {None}


def test_another_lineage_that_holds_the_content_keeps_its_queues() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    works.submit([submission([MEAN, PRICE], lineage="beta", strategy="s2", position=1)])
    works.submit([submission([PRICE], position=2)])
    assert {row.unreferenced_ms for row in by_name(stores).values()} == {None}


def test_a_parked_version_holds_its_queues() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([OTHER], version="v2", weight=0.0, position=1)])
    assert {row.unreferenced_ms for row in by_name(stores).values()} == {None}
    assert active(stores) == {"v1": 1.0}


def test_a_tombstone_is_neither_freed_nor_taken_up() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    gone = msgspec.structs.replace(by_name(stores)["mean"], state=QueueState.CONDEMNED, unreferenced_ms=3)
    stores.put(gone)
    works.submit([submission([PRICE, MEAN, OTHER], position=1)])
    assert stores.queues()[gone.topic] == gone


# --- epoch


EPOCH_STEPS: list[tuple[str, list[dict[str, Any]], int]] = [
    ("a new node", [OTHER], 0),
    ("the same again", [PRICE], 0),
    ("a changed schema", [PRICE | {"schema_hash": "h2"}], 1),
    ("no schema given", [{k: v for k, v in PRICE.items() if k != "schema_hash"}], 0),
    ("tags only", [PRICE | {"tags": ["BTC", "new"]}], 0),
]


@pytest.mark.parametrize(
    ("nodes", "raised"), [step[1:] for step in EPOCH_STEPS], ids=[s[0] for s in EPOCH_STEPS]
)
def test_the_epoch_is_raised_by_what_changes_an_answer_already_given(
    nodes: list[dict[str, Any]], raised: int
) -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    assert stores.graph.epoch() == 0
    works.submit([submission(nodes, strategy="s2", lineage="beta", position=1)])
    assert stores.graph.epoch() == raised


def test_adopting_a_first_schema_raises_no_epoch() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([{k: v for k, v in PRICE.items() if k != "schema_hash"}])])
    works.submit([submission([PRICE], lineage="beta", strategy="s2", position=1)])
    assert stores.graph.epoch() == 0
    assert stores.rows(NodeRow)[0].schema_hash == "h1"


def test_a_changed_schema_buffers_for_everybody_and_is_remembered() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    changed = PRICE | {"schema_hash": "h2"}
    (answer,) = works.submit(
        [submission([changed], position=1, at_ms=START_MS - 5, strategy="s2", lineage="b")]
    )
    assert [(each.node_id, each.lag) for each in told(answer).buffers] == [(PRICE["node_id"], 5)]
    (row,) = stores.rows(NodeRow)
    assert (row.schema_hash, row.buffering_since_ms) == ("h2", START_MS - 5)
    assert {each.schema_hash for each in row.schemas} == {"h1", "h2"}
    (old,) = works.submit([submission([PRICE], position=2, strategy="s3", lineage="c")])
    assert told(old).actions.buffer == 1
    assert stores.rows(NodeRow)[0] == row


# --- tags


def test_tags_are_the_union_over_the_active_contents() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE | {"tags": ["spot", "x"]}], lineage="beta", strategy="s2", position=1)])
    assert stores.rows(NodeRow)[0].tags == ("BTC", "spot", "x")
    works.submit([submission([OTHER], lineage="beta", strategy="s2", position=2)])
    assert next(row for row in stores.rows(NodeRow) if row.name == "price").tags == ("BTC", "spot")


def test_a_new_queue_is_announced_for_its_own_tags_with_a_revision() -> None:
    stores = Stores()
    engine(stores).submit([submission([PRICE, MEAN])])
    events = {tuple(each["tags"]): each for each in queue_events(stores)}
    assert set(events) == {("BTC", "spot"), ("BTC",)}
    both = [{"queue": topic, "global": False} for topic in sorted(stores.topics.names())]
    for each in events.values():
        assert (each["match_mode"], each["version"], each["revision"]) == ("any", 1, 1)
        assert each["queues"] == both
    assert {row.key.tags: row.revision for row in stores.rows(TagSetRow)} == {("BTC",): 1, ("BTC", "spot"): 1}


@pytest.mark.parametrize(("mode", "expected"), [("any", ["price", "mean"]), ("all", ["price"])])
def test_a_registered_tag_query_is_told_of_what_it_matches(mode: str, expected: list[str]) -> None:
    stores = Stores()
    works = engine(stores)
    query = tag_query("watch", ["BTC", "spot"], mode)
    works.submit([submission([query], lineage="watcher", strategy="w")])
    assert queue_events(stores) == []  # a query's own queue is never a result
    works.submit([submission([PRICE, MEAN], position=1)])
    told_of = [each for each in queue_events(stores) if each["match_mode"] == mode]
    last = max((e for e in told_of if e["tags"] == ["BTC", "spot"]), key=lambda e: int(e["revision"]))
    names = {row.topic: name for name, row in by_name(stores).items()}
    assert sorted(names[each["queue"]] for each in last["queues"]) == sorted(expected)


def test_a_query_that_is_not_in_force_any_more_is_told_nothing() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([tag_query("watch", ["BTC", "spot"], "all")], lineage="w", strategy="w")])
    works.submit([submission([OTHER], lineage="w", strategy="w", position=1)])
    works.submit([submission([PRICE], position=2)])
    assert [each for each in queue_events(stores) if each["match_mode"] == "all"] == []


def test_leaving_a_set_is_announced_with_the_list_that_is_left() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    works.submit([submission([PRICE], position=1)])
    last = {tuple(each["tags"]): each for each in queue_events(stores)}
    assert [each["queue"] for each in last[("BTC",)]["queues"]] == [by_name(stores)["price"].topic]
    assert set(last) == {("BTC",), ("BTC", "spot")}  # nobody can ask for no tags at all


def test_events_name_the_world_only_of_namespaced_queues() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE], world="w1")])
    assert {(e["world_id"], e["execution_domain"]) for e in payloads(stores)} == {("w1", "live")}
    stores = Stores()
    engine(stores).submit([submission([PRICE])])
    assert all("world_id" not in each and "execution_domain" not in each for each in payloads(stores))


# --- safe mode


def safe(nodes: list[dict[str, Any]], **fields: Any) -> Any:
    return submission(nodes, domain="backtest", **fields)


def test_safe_mode_shares_nothing_announces_nothing_and_leaves_no_version() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    before = (list(stores.events.published), stores.rows(SentinelRow), stores.rows(HolderRow))
    (answer,) = works.submit([safe([PRICE, MEAN], position=1)])
    assert told(answer).actions.isolate == 2
    assert told(answer).safe_mode
    assert told(answer).sentinel_id == "s1-sentinel"
    assert all("_safe_" in topic for topic in topics_of(answer))
    assert (stores.events.published, stores.rows(SentinelRow), stores.rows(HolderRow)) == before
    isolated = [row for row in stores.rows(QueueRow) if row.binding.safe]
    assert {row.spec.retention_ms for row in isolated} == {DAY_MS}
    assert {row.expires_ms for row in isolated} == {START_MS + DAY_MS}
    assert stores.graph.tagged(("BTC",), 60, "any", "")[0].topic == by_name(stores)["price"].topic


def test_a_safe_repeat_gets_the_same_topics_while_they_live() -> None:
    stores = Stores()
    works = engine(stores)
    (first,) = works.submit([safe([PRICE])])
    (again,) = works.submit([safe([PRICE], position=1)])
    assert topics_of(again) == topics_of(first)
    (other,) = works.submit([safe([PRICE], lineage="beta", position=2)])
    assert topics_of(other) != topics_of(first)
    stores.clock.now_ms += DAY_MS
    (later,) = works.submit([safe([PRICE], position=3)])
    assert topics_of(later) == [f"{topics_of(first)[0]}_v2"]


def test_a_node_known_from_safe_mode_only_is_new() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([safe([PRICE])])
    assert stores.rows(NodeRow)[0].safe_only
    (answer,) = works.submit([submission([PRICE], position=1)])
    assert told(answer).actions.create == 1
    assert not stores.rows(NodeRow)[0].safe_only
    (sentinel,) = stores.rows(SentinelRow)
    assert sentinel.introduced == (PRICE["node_id"],)


def test_safe_mode_has_a_limit() -> None:
    stores = Stores()
    works = engine(stores, policy=msgspec.structs.replace(POLICY, safe_mode_max_topics=2))
    works.submit([safe([PRICE, MEAN])])
    rows = stores.all_rows()
    (full,) = works.submit([safe([OTHER], position=1)])
    assert refused(full).code is ErrorCode.RATE_LIMITED
    assert stores.all_rows() == rows
    (repeat,) = works.submit([safe([PRICE, MEAN], position=2)])
    assert told(repeat).actions.isolate == 2


def test_strict_dependencies_refuse_what_the_graph_does_not_know_either() -> None:
    stores = Stores()
    works = engine(stores, policy=msgspec.structs.replace(POLICY, strict_dependencies=True))
    (no,) = works.submit([submission([MEAN])])
    assert refused(no).code is ErrorCode.UNRESOLVED_DEPENDENCIES
    assert stores.all_rows() == ()
    works.submit([submission([PRICE], lineage="beta", strategy="s2", position=1)])
    (yes,) = works.submit([submission([MEAN], position=2)])
    assert told(yes).warnings == ()
