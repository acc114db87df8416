"""When a version comes into force, in whatever order its topics come up (docs/semantics.md 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dagmanager.engine.decide.next_version import next_version
from dagmanager.engine.decide.rollout import start_change
from dagmanager.engine.model.version_ask import VersionAsk
from dagmanager.engine.model.version_rows import SentinelRow, VersionTransition
from dagmanager.errors import Rejection
from tests.engine.lineage import (
    CLAIM,
    State,
    World,
    ask,
    key,
    prompt,
    short_key,
    world,
)


def test_a_claim_leaves_the_old_version_in_force_until_the_topics_are_there() -> None:
    w = world(("v1", "a", None), ("v2", "b", None))
    assert (w.active, w.in_force) == ({"v1.1": 1.0}, {"v2.1": 1.0})
    pending = w.rows[key("v2")]
    assert (pending.claim_id, pending.owner, pending.lease_until_ms) == ("claim", "process", 99)
    changed = w.ready("v2")
    assert w.active == {"v2.1": 1.0}
    assert {each.key: each.state for each in changed} == {
        key("v1"): State.SUPERSEDED,
        key("v2"): State.ACTIVE,
    }
    assert w.rows[key("v2")].takeover is None
    assert w.rows[key("v2")].claim_id == ""


def test_activation_twice_changes_nothing() -> None:
    w = world(("v1", "a", None), ("v2", "b", 0.1))
    assert w.ready("v2")
    assert w.ready("v2") == ()


def test_a_version_that_was_superseded_while_pending_is_superseded_when_it_is_ready() -> None:
    w = world(("v1", "a", None), ("v2", "b", None), ("v3", "c", None))
    w.ready("v3")
    assert w.active == {"v3.1": 1.0}
    assert w.ready("v2")
    assert w.rows[key("v2")].state is State.SUPERSEDED
    assert w.active == {"v3.1": 1.0}


def test_a_canary_that_is_ready_before_its_base() -> None:
    w = world(("v1", "a", None), ("v2", "b", None), ("v3", "c", 0.1))
    assert w.in_force == {"v2.1": 0.9, "v3.1": 0.1}
    w.ready("v3")
    assert w.active == {"v1.1": 0.9, "v3.1": 0.1}
    w.ready("v2")
    assert w.active == {"v2.1": 0.9, "v3.1": 0.1}


def test_at_most_two_are_active_even_out_of_order() -> None:
    w = world(("v1", "a", None), ("v2", "b", 0.1))
    w.ready("v2")
    w.submit("v3", "c")
    w.submit("v4", "d", 0.2)
    w.ready("v4")
    assert w.active == {"v1.1": 0.8, "v4.1": 0.2}
    w.ready("v3")
    assert w.active == {"v3.1": 0.8, "v4.1": 0.2}


def test_a_superseded_version_that_is_activated_late_does_not_replace_a_newer_one() -> None:
    w = world(("v1", "a", None), ("v3", "a", 0.1), ("v3", "b", 0.0), ("v2", "a", 0.1))
    w.ready("v2")
    w.ready("v3.2")
    w.ready("v3")
    assert w.active == {"v1.1": 0.9, "v2.1": 0.1}


def test_the_only_active_version_is_parked_when_another_is_active() -> None:
    w = world(("v1", "a", None), ("v2", "b", 0.1))
    w.submit("v1", "a", 0.0)
    assert w.active == {"v1.1": 1.0}
    assert w.in_force == {"v2.1": 1.0}
    w.ready("v2")
    assert w.active == {"v2.1": 1.0}
    assert w.rows[key("v1")].state is State.PARKED


def test_an_old_client_does_not_stop_a_version_that_is_about_to_come_into_force() -> None:
    w = world(("v1", "a", None), ("v2", "b", None))
    change = w.submit("v1", "a")
    assert not isinstance(change, Rejection)
    assert [each.code for each in change.warnings] == ["superseded_version"]
    w.ready("v2")
    assert w.active == {"v2.1": 1.0}


def test_a_pending_weight_may_change() -> None:
    w = world(("v1", "a", None), ("v2", "b", 0.1))
    w.submit("v2", "b", 0.4)
    assert w.active == {"v1.1": 1.0}
    w.ready("v2")
    assert w.active == {"v1.1": 0.6, "v2.1": 0.4}


def test_a_successor_supersedes_what_a_failed_claim_would_have() -> None:
    w = world(("v1", "a", None), ("v2", "b", None), ("v2", "x", None))
    w.put((replace(w.rows[key("v2")], state=State.RELEASED, takeover=None),))
    w.ready("v2.2")
    assert w.active == {"v2.2": 1.0}


def test_a_reinstated_sentinel_keeps_what_it_was() -> None:
    w = world(("v1", "a", None), ("v2", "b", None))
    w.ready("v2")
    before = w.rows[key("v1")]
    w.submit("v1", "a", 1.0)
    after = w.rows[key("v1")]
    assert after.state is State.PENDING
    assert (after.created_ms, after.introduced, after.commit_hash) == (
        before.created_ms,
        before.introduced,
        before.commit_hash,
    )


def test_a_superseded_version_that_is_sent_again_is_parked_and_keeps_its_queues() -> None:
    w = world(("v1", "a", None), ("v2", "b", None))
    w.ready("v2")
    w.submit("v1", "a")
    w.ready("v1")
    assert w.rows[key("v1")].state is State.PARKED
    assert w.active == {"v2.1": 1.0}


def test_a_newer_content_of_a_parked_label_supersedes_the_parked_one() -> None:
    w = prompt(("v1", "a", None), ("v2", "b", 0.0), ("v2", "x", None))
    states = {short_key(each.key): each.state for each in w.sentinels}
    assert states == {"v1.1": State.ACTIVE, "v2.1": State.SUPERSEDED, "v2.2": State.PARKED}


def test_a_new_sentinel_carries_what_the_claim_knows() -> None:
    request = replace(ask("v1", "a", 1.0), commit_hash="abc", world_id="w1", execution_domain="live")
    claim = replace(CLAIM, introduced=("n1", "n2"))
    change = next_version((), None, None, request)
    assert not isinstance(change, Rejection)
    (made,) = start_change(change, (), request, claim)
    assert made == SentinelRow(
        key=key("v1"),
        content="a",
        state=State.PENDING,
        weight=0.0,
        commit_hash="abc",
        created_ms=50,
        world_id="w1",
        execution_domain="live",
        weight_asked=1.0,
        introduced=("n1", "n2"),
        claim_id="claim",
        owner="process",
        lease_until_ms=99,
        takeover=VersionTransition(State.ACTIVE, 1.0, (VersionAsk(1.0, 10),)),
        last_seen_ms=50,
        sentinel_id="s-sentinel",
    )


SUBMIT = st.tuples(
    st.just("submit"),
    st.sampled_from(["v1", "v2", "v3"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([None, None, 0.0, 0.1, 0.5, 0.9, 1.0]),
)


READY = st.tuples(st.just("ready"), st.integers(0, 5))


FAIL = st.tuples(st.just("fail"), st.integers(0, 5))


ROLL = st.tuples(st.just("roll_back"), st.integers(0, 5))


def run(w: World, step: tuple[object, ...]) -> None:
    match step:
        case ("submit", str(version), str(content), weight):
            assert weight is None or isinstance(weight, float)
            w.submit(version, content, weight)
        case (verb, int(number)):
            names = w.pending()
            if not names:
                return
            name = names[number % len(names)]
            if verb == "ready":
                w.ready(name)
            else:
                gone = State.RELEASED if verb == "fail" else State.ROLLED_BACK
                w.put((replace(w.rows[key(name)], state=gone, weight=0.0, takeover=None),))


def check(w: World, had_one: bool) -> None:
    for view in (w.active, w.in_force):
        assert len(view) <= 2
        assert not view or sum(view.values()) == pytest.approx(1.0, abs=1e-9)
        assert all(0.0 < weight <= 1.0 for weight in view.values())
    assert w.active or not had_one
    assert all((each.takeover is not None) == (each.state is State.PENDING) for each in w.sentinels)
    assert all(each.weight == 0.0 for each in w.sentinels if each.state is not State.ACTIVE)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(SUBMIT, SUBMIT, READY), max_size=25), st.randoms(use_true_random=False))
def test_active_weights_always_sum_to_one_in_any_order(steps: list[tuple[object, ...]], rnd: object) -> None:
    w = World()
    had_one = False
    for step in steps:
        run(w, step)
        check(w, had_one)
        had_one = had_one or bool(w.active)
    expected = w.in_force
    while w.pending():
        names = w.pending()
        w.ready(rnd.choice(names))  # type: ignore[attr-defined]  # a Random made by Hypothesis
        check(w, had_one)
        had_one = had_one or bool(w.active)
        assert w.in_force == pytest.approx(expected), "activation fulfills what was decided, no more"
    assert w.active == pytest.approx(expected)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(SUBMIT, SUBMIT, READY, FAIL, ROLL), max_size=25))
def test_claims_that_fail_leave_a_version_in_force(steps: list[tuple[object, ...]]) -> None:
    w = World()
    had_one = False
    for step in steps:
        run(w, step)
        check(w, had_one)
        had_one = had_one or bool(w.active)


@settings(max_examples=200, deadline=None)
@given(st.lists(SUBMIT, min_size=1, max_size=15))
def test_pending_or_active_decides_the_same(steps: list[tuple[object, ...]]) -> None:
    waiting, prompt = World(), World()
    for step in steps:
        run(waiting, step)
        run(prompt, step)
        for name in prompt.pending():
            prompt.ready(name)
        assert waiting.in_force == pytest.approx(prompt.active)


# A failure is shown as it was found: to shrink it takes minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
RECORD = st.tuples(
    st.sampled_from(["v1", "v2", "v3"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([None, None, None, 0.0, 0.3, 1.0]),
)


@settings(max_examples=200, deadline=None, phases=PHASES)
@given(st.lists(RECORD, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_what_is_in_force_does_not_depend_on_the_order_in_which_records_are_read(
    records: list[tuple[str, str, float | None]], rnd: Any
) -> None:
    """Each record has a sender of its own. A third version with a share is refused on arrival, so it is left out."""
    timed = [(at_ms * 10, *record) for at_ms, record in enumerate(records, 1)]
    expected = _in_force_after(timed, rnd)
    shuffled = list(timed)
    rnd.shuffle(shuffled)
    assert _in_force_after(shuffled, rnd) == expected


def test_a_holder_that_is_older_than_a_weight_of_its_version_still_counts() -> None:
    """Read after the weight, it was kept nowhere: then an older edit began a canary."""
    w = World()
    for content, weight, at_ms in (("a", None, 30), ("a", 0.3, 60), ("a", None, 50), ("b", None, 40)):
        w.submit("v1", content, weight, at_ms=at_ms)
        for name in w.pending():
            w.ready(name)
    assert w.active == {"v1.1": 1.0}


def _in_force_after(
    timed: Sequence[tuple[int, str, str, float | None]], rnd: Any
) -> dict[tuple[str, str], float]:
    w = World()
    for at_ms, version, content, weight in timed:
        assume(not isinstance(w.submit(version, content, weight, at_ms=at_ms), Rejection))
        names = w.pending()
        if names and rnd.random() < 0.5:
            w.ready(rnd.choice(names))
        check(w, had_one=False)
    while names := w.pending():
        w.ready(rnd.choice(names))
    assert w.active == pytest.approx(w.in_force)
    return {
        (each.key.version, each.content): round(each.weight, 9)
        for each in w.sentinels
        if each.state is State.ACTIVE
    }
