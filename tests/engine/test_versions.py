from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dagmanager.engine.rows import (
    HolderKey,
    HolderRow,
    LineageKey,
    LineageRow,
    SentinelKey,
    SentinelRow,
    SentinelState,
    Takeover,
)
from dagmanager.engine.versions import (
    AddHolder,
    ChangeWeight,
    Claim,
    NewSentinel,
    Reinstate,
    Resend,
    VersionChange,
    VersionRequest,
    activate,
    begin,
    effective,
    next_version,
)
from dagmanager.errors import ErrorCode, Rejection

LINEAGE = LineageKey("alpha", "w1.live")
State = SentinelState
Rows = tuple[SentinelRow, ...]


def key(name: str) -> SentinelKey:
    """`v1.2` is label v1, revision 2."""
    version, _, revision = name.partition(".")
    return SentinelKey("alpha", "w1.live", version, int(revision or 1))


def row(
    name: str,
    content: str,
    state: SentinelState = State.ACTIVE,
    weight: float = 1.0,
    asked: float | None = None,
    takeover: Takeover | None = None,
    at_ms: int = 0,
) -> SentinelRow:
    return SentinelRow(
        key(name),
        content,
        state,
        weight,
        content,
        0,
        weight_asked=asked,
        takeover=takeover,
        last_seen_ms=at_ms,
    )


def ask(
    version: str,
    content: str,
    weight: float | None = None,
    strategy_id: str = "s",
    at_ms: int = 10,
) -> VersionRequest:
    digest = f"{content}|{strategy_id}|{version}|{weight}"
    return VersionRequest(LINEAGE, version, content, weight, strategy_id, digest, at_ms)


def holder(name: str, weight_sent: float | None, digest: str = "other") -> HolderRow:
    return HolderRow(HolderKey("s", "w1.live"), key(name), digest, weight_sent, 0)


PAIR = (row("v1", "a", weight=0.9), row("v2", "b", weight=0.1, asked=0.1))
ONE = (row("v1", "a"),)
PARKED = (row("v1", "a"), row("v2", "b", State.PARKED, 0.0, asked=0.0))


def told(change: VersionChange | Rejection) -> tuple[object, ...]:
    """The change in short: kind, sentinel, state, weight, supersedes, weights."""
    assert not isinstance(change, Rejection), change
    match change:
        case Resend(sentinel=found) | AddHolder(sentinel=found):
            return (type(change).__name__, short(found.key))
        case ChangeWeight(sentinel=found, takeover=takeover):
            return ("ChangeWeight", short(found.key), *in_short(takeover))
        case NewSentinel(key=found_key, takeover=takeover) | Reinstate(key=found_key, takeover=takeover):
            return (type(change).__name__, short(found_key), *in_short(takeover))


def short(found: SentinelKey) -> str:
    return f"{found.version}.{found.revision}"


def in_short(takeover: Takeover) -> tuple[object, ...]:
    gone = tuple(short(each) for each in takeover.supersedes)
    return (takeover.state.value, takeover.weight, gone, tuple((short(k), w) for k, w in takeover.weights))


CASES: dict[str, tuple[Rows, VersionRequest, tuple[object, ...], tuple[str, ...]]] = {
    "first version ever": ((), ask("v1", "a"), ("NewSentinel", "v1.1", "active", 1.0, (), ()), ()),
    "first version with a share": (
        (),
        ask("v1", "a", 0.2),
        ("NewSentinel", "v1.1", "active", 1.0, (), ()),
        ("only_version",),
    ),
    "first version parked": (
        (),
        ask("v1", "a", 0.0),
        ("NewSentinel", "v1.1", "active", 1.0, (), ()),
        ("only_version",),
    ),
    "first version with all": ((), ask("v1", "a", 1.0), ("NewSentinel", "v1.1", "active", 1.0, (), ()), ()),
    "same label and content": (ONE, ask("v1", "a"), ("AddHolder", "v1.1"), ()),
    "same label and content, in a pair": (PAIR, ask("v2", "b"), ("AddHolder", "v2.1"), ()),
    "same weight as anyone sent": (PAIR, ask("v2", "b", 0.1), ("AddHolder", "v2.1"), ()),
    "another share": (
        PAIR,
        ask("v2", "b", 0.5),
        ("ChangeWeight", "v2.1", "active", 0.5, (), (("v1.1", 0.5),)),
        (),
    ),
    "another share of the older one": (
        PAIR,
        ask("v1", "a", 0.3),
        ("ChangeWeight", "v1.1", "active", 0.3, (), (("v2.1", 0.7),)),
        (),
    ),
    "promote": (PAIR, ask("v2", "b", 1.0), ("ChangeWeight", "v2.1", "active", 1.0, ("v1.1",), ()), ()),
    "park one of a pair": (
        PAIR,
        ask("v2", "b", 0.0),
        ("ChangeWeight", "v2.1", "parked", 0.0, (), ()),
        (),
    ),
    "the only one asked for less": (ONE, ask("v1", "a", 0.5), ("AddHolder", "v1.1"), ("only_version",)),
    "the only one asked for nothing": (ONE, ask("v1", "a", 0.0), ("AddHolder", "v1.1"), ("only_version",)),
    "the only one asked for all": (ONE, ask("v1", "a", 1.0), ("AddHolder", "v1.1"), ()),
    "same label, other content": (
        ONE,
        ask("v1", "x"),
        ("NewSentinel", "v1.2", "active", 1.0, ("v1.1",), ()),
        (),
    ),
    "same label, other content, in a pair": (
        PAIR,
        ask("v2", "x"),
        ("NewSentinel", "v2.2", "active", 0.1, ("v2.1",), (("v1.1", 0.9),)),
        (),
    ),
    "same label, other content, same weight": (
        (row("v1", "a", weight=0.5), row("v2", "b", weight=0.5, asked=0.1)),
        ask("v2", "x", 0.1),
        ("NewSentinel", "v2.2", "active", 0.5, ("v2.1",), (("v1.1", 0.5),)),
        (),
    ),
    "same label, other content, another weight": (
        PAIR,
        ask("v2", "x", 0.5),
        ("NewSentinel", "v2.2", "active", 0.5, ("v2.1",), (("v1.1", 0.5),)),
        (),
    ),
    "same label, other content, promoted": (
        PAIR,
        ask("v2", "x", 1.0),
        ("NewSentinel", "v2.2", "active", 1.0, ("v2.1", "v1.1"), ()),
        (),
    ),
    "same label, other content, parked": (
        PAIR,
        ask("v2", "x", 0.0),
        ("NewSentinel", "v2.2", "parked", 0.0, ("v2.1",), ()),
        (),
    ),
    "other content of a parked label stays parked": (
        PARKED,
        ask("v2", "x"),
        ("NewSentinel", "v2.2", "parked", 0.0, ("v2.1",), ()),
        (),
    ),
    "other content of a parked label with a share": (
        PARKED,
        ask("v2", "x", 0.2),
        ("NewSentinel", "v2.2", "active", 0.2, ("v2.1",), (("v1.1", 0.8),)),
        (),
    ),
    "parked and sent without a weight": (
        PARKED,
        ask("v2", "b"),
        ("Reinstate", "v2.1", "active", 1.0, ("v1.1",), ()),
        (),
    ),
    "parked and sent with a share": (
        PARKED,
        ask("v2", "b", 0.2),
        ("Reinstate", "v2.1", "active", 0.2, (), (("v1.1", 0.8),)),
        (),
    ),
    "parked and sent with 0 again": (PARKED, ask("v2", "b", 0.0), ("AddHolder", "v2.1"), ()),
    "parked by the operator and the same share sent again": (
        (row("v1", "a"), row("v2", "b", State.PARKED, 0.0, asked=0.1)),
        ask("v2", "b", 0.1),
        ("AddHolder", "v2.1"),
        (),
    ),
    "another label": (ONE, ask("v2", "b"), ("NewSentinel", "v2.1", "active", 1.0, ("v1.1",), ()), ()),
    "another label with all": (
        ONE,
        ask("v2", "b", 1.0),
        ("NewSentinel", "v2.1", "active", 1.0, ("v1.1",), ()),
        (),
    ),
    "another label, same content": (
        ONE,
        ask("v2", "a"),
        ("NewSentinel", "v2.1", "active", 1.0, ("v1.1",), ()),
        (),
    ),
    "another label supersedes a pair": (
        PAIR,
        ask("v3", "c"),
        ("NewSentinel", "v3.1", "active", 1.0, ("v1.1", "v2.1"), ()),
        (),
    ),
    "canary": (ONE, ask("v2", "b", 0.1), ("NewSentinel", "v2.1", "active", 0.1, (), (("v1.1", 0.9),)), ()),
    "another label parked": (
        PAIR,
        ask("v3", "c", 0.0),
        ("NewSentinel", "v3.1", "parked", 0.0, (), ()),
        (),
    ),
    "a weight beyond 1": (
        ONE,
        ask("v2", "b", 7.0),
        ("NewSentinel", "v2.1", "active", 1.0, ("v1.1",), ()),
        (),
    ),
    "nothing in force any more": (
        (row("v1", "a", State.RELEASED, 0.0),),
        ask("v2", "b", 0.2),
        ("NewSentinel", "v2.1", "active", 1.0, (), ()),
        ("only_version",),
    ),
    "revisions count all of a label": (
        (row("v1", "a", State.ARCHIVED, 0.0), row("v1.7", "b", State.SUPERSEDED, 0.0), row("v2", "c")),
        ask("v1", "x"),
        ("NewSentinel", "v1.8", "active", 1.0, ("v2.1",), ()),
        (),
    ),
    "reinstated revision of a label in force": (
        (row("v1", "a", State.SUPERSEDED, 0.0), row("v1.2", "b")),
        ask("v1", "a"),
        ("Reinstate", "v1.1", "active", 1.0, ("v1.2",), ()),
        (),
    ),
    "reinstated canary": (
        (row("v1", "a"), row("v2", "b", State.SUPERSEDED, 0.0, asked=0.1)),
        ask("v2", "b", 0.1),
        ("Reinstate", "v2.1", "active", 0.1, (), (("v1.1", 0.9),)),
        (),
    ),
    "rolled back is never reinstated": (
        (row("v1", "a", State.ROLLED_BACK, 0.0), row("v2", "b")),
        ask("v1", "a"),
        ("NewSentinel", "v1.2", "active", 1.0, ("v2.1",), ()),
        ("rolled_back_content",),
    ),
    "after a rollback the newer row comes back": (
        (row("v1", "a", State.ROLLED_BACK, 0.0), row("v1.2", "a", State.SUPERSEDED, 0.0), row("v2", "b")),
        ask("v1", "a"),
        ("Reinstate", "v1.2", "active", 1.0, ("v2.1",), ()),
        (),
    ),
    "archived is gone": (
        (row("v1", "a", State.ARCHIVED, 0.0), row("v2", "b")),
        ask("v1", "a"),
        ("NewSentinel", "v1.2", "active", 1.0, ("v2.1",), ()),
        (),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rules_of_decisions_5(name: str) -> None:
    sentinels, request, expected, notices = CASES[name]
    change = next_version(sentinels, LineageRow(LINEAGE, 5), None, request)
    assert told(change) == expected
    assert not isinstance(change, Rejection)
    assert tuple(notice.code for notice in change.warnings) == notices


@pytest.mark.parametrize("state", [State.SUPERSEDED, State.PARKED, State.RELEASED, State.EXPIRED])
def test_what_was_in_force_comes_back(state: SentinelState) -> None:
    change = next_version((row("v1", "a"), row("v2", "b", state, 0.0)), None, None, ask("v2", "b"))
    assert told(change) == ("Reinstate", "v2.1", "active", 1.0, ("v1.1",), ())


@pytest.mark.parametrize(
    ("state", "referencing"),
    [(state, state in {State.PENDING, State.ACTIVE, State.PARKED}) for state in SentinelState],
)
def test_an_identical_resend_is_a_question(state: SentinelState, referencing: bool) -> None:
    sentinels = (row("v1", "a", state, 0.0), row("v2", "b"))
    request = ask("v1", "a", at_ms=1)
    held = holder("v1", None, request.submission_digest)
    change = next_version(sentinels, LineageRow(LINEAGE, 99), held, request)
    assert change == Resend(sentinels[0], referencing)
    assert begin(change, sentinels, request, Claim("c", "p", 1, 1)) == ()


@pytest.mark.parametrize("weight", [0.25, 0.5, None])
def test_a_holder_is_measured_by_what_it_sent_itself(weight: float | None) -> None:
    change = next_version(PAIR, None, holder("v2", 0.25), ask("v2", "b", weight))
    assert isinstance(change, ChangeWeight) == (weight == 0.5)


def test_what_a_holder_sent_for_another_version_does_not_count() -> None:
    change = next_version(PAIR, None, holder("v1", 0.5), ask("v2", "b", 0.5))
    assert isinstance(change, ChangeWeight)


def test_an_unused_weight_is_remembered() -> None:
    request = ask("v1", "a", 0.2)
    change = next_version(ONE, None, None, request)
    (changed,) = begin(change, ONE, request, CLAIM) if not isinstance(change, Rejection) else ()
    assert changed == replace(ONE[0], weight_asked=0.2)


LATE: dict[str, tuple[Rows, VersionRequest, str]] = {
    "new content": (ONE, ask("v1", "x"), "late"),
    "new label": (ONE, ask("v2", "a"), "late"),
    "superseded content": ((*ONE, row("v2", "b", State.SUPERSEDED, 0.0)), ask("v2", "b"), "late"),
    "parked content": (PARKED, ask("v2", "b"), "late"),
    "content in force": (ONE, ask("v1", "a"), "AddHolder"),
    "content in force with another weight": (PAIR, ask("v2", "b", 0.7), "AddHolder"),
    "content in force, promoted": (PAIR, ask("v2", "b", 1.0), "AddHolder"),
}


@pytest.mark.parametrize("name", LATE)
def test_an_older_record_never_undoes_a_newer_one(name: str) -> None:
    sentinels, request, expected = LATE[name]
    change = next_version(sentinels, LineageRow(LINEAGE, request.at_ms + 1), None, request)
    answer = change.code.value if isinstance(change, Rejection) else type(change).__name__
    assert answer == expected
    assert not isinstance(
        next_version(sentinels, LineageRow(LINEAGE, request.at_ms), None, request), Rejection
    )


@pytest.mark.parametrize(
    "sentinels",
    [PAIR, (*PAIR, row("v3", "c", State.SUPERSEDED, 0.0)), (*PAIR, row("v3", "x", State.PARKED, 0.0))],
)
def test_a_third_version_is_refused_with_the_way_out(sentinels: Rows) -> None:
    refused = next_version(sentinels, None, None, ask("v3", "c", 0.1))
    assert isinstance(refused, Rejection)
    assert refused.code is ErrorCode.TOO_MANY_VERSIONS
    for word in ("v1", "v2", "weight 1", "sentinel weight --set"):
        assert word in refused.message


# --- pending ones -----------------------------------------------------------------------------------

CLAIM = Claim("claim", "process", 99, 50)


class World:
    """A lineage as a store would keep it: submissions are claimed, topics become ready in any order."""

    def __init__(self) -> None:
        self.rows: dict[SentinelKey, SentinelRow] = {}

    @property
    def sentinels(self) -> Rows:
        return tuple(self.rows[found] for found in sorted(self.rows))

    def put(self, rows: Rows) -> None:
        self.rows.update({each.key: each for each in rows})

    def submit(self, version: str, content: str, weight: float | None = None) -> VersionChange | Rejection:
        request = ask(version, content, weight)
        change = next_version(self.sentinels, None, None, request)
        if not isinstance(change, Rejection):
            self.put(begin(change, self.sentinels, request, CLAIM))
        return change

    def ready(self, name: str) -> Rows:
        changed = activate(self.rows[key(name)], self.sentinels, 60)
        self.put(changed)
        return changed

    @property
    def active(self) -> dict[str, float]:
        return {short(each.key): each.weight for each in self.sentinels if each.state is State.ACTIVE}

    @property
    def in_force(self) -> dict[str, float]:
        return {short(found): weight for found, weight in effective(self.sentinels).items()}

    def pending(self) -> list[str]:
        return [short(each.key) for each in self.sentinels if each.state is State.PENDING]


def world(*submitted: tuple[str, str, float | None]) -> World:
    """The first is active, the others pending."""
    found = World()
    for number, (version, content, weight) in enumerate(submitted):
        found.submit(version, content, weight)
        if number == 0:
            found.ready(version)
    return found


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


def test_what_was_superseded_meanwhile_stays_so() -> None:
    w = world(("v1", "a", None), ("v2", "b", None), ("v3", "c", None))
    w.ready("v3")
    assert w.active == {"v3.1": 1.0}
    assert w.rows[key("v2")].state is State.SUPERSEDED
    assert w.ready("v2") == ()
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


def test_a_takeover_keeps_the_partner_that_it_names() -> None:
    w = world(("v3", "a", None), ("v1", "a", 0.1), ("v3", "b", 0.0), ("v2", "a", 0.1))
    w.ready("v1")
    w.ready("v2")
    assert w.active == {"v1.1": 0.9, "v2.1": 0.1}
    w.ready("v3.2")
    assert w.active == {"v1.1": 0.9, "v2.1": 0.1}


def test_an_overtaken_one_does_not_push_a_newer_one_out() -> None:
    w = world(("v1", "a", None), ("v3", "a", 0.1), ("v3", "b", 0.0), ("v2", "a", 0.1))
    w.ready("v2")
    w.ready("v3")
    assert w.active == {"v1.1": 0.9, "v2.1": 0.1}
    assert w.rows[key("v3")].state is State.SUPERSEDED


def test_parking_waits_for_the_one_that_follows() -> None:
    w = world(("v1", "a", None), ("v2", "b", 0.1))
    w.submit("v1", "a", 0.0)
    assert w.active == {"v1.1": 1.0}
    assert w.in_force == {"v2.1": 1.0}
    w.ready("v2")
    assert w.active == {"v2.1": 1.0}
    assert w.rows[key("v1")].state is State.PARKED


def test_a_version_about_to_leave_is_asked_for_again() -> None:
    w = world(("v1", "a", None), ("v2", "b", None))
    change = w.submit("v1", "a")
    assert told(change) == ("ChangeWeight", "v1.1", "active", 1.0, ("v2.1",), ())
    assert w.active == w.in_force == {"v1.1": 1.0}
    assert w.rows[key("v2")].state is State.SUPERSEDED
    w.submit("v2", "b")
    w.submit("v1", "a", 0.1)
    assert w.active == {"v1.1": 1.0}
    assert w.in_force == {"v1.1": 0.1, "v2.1": 0.9}
    w.ready("v2")
    assert w.active == {"v1.1": 0.1, "v2.1": 0.9}


@pytest.mark.parametrize("order", [("v2", "v3"), ("v3", "v2")])
def test_a_pending_one_that_was_overtaken_is_asked_for_again(order: tuple[str, str]) -> None:
    w = world(("v1", "a", None), ("v2", "b", None), ("v3", "c", None))
    w.submit("v2", "b")
    assert w.in_force == {"v2.1": 1.0}
    for name in order:
        w.ready(name)
    assert w.active == {"v2.1": 1.0}


def test_a_pending_weight_may_change() -> None:
    w = world(("v1", "a", None), ("v2", "b", 0.1))
    w.submit("v2", "b", 0.4)
    assert w.active == {"v1.1": 1.0}
    w.ready("v2")
    assert w.active == {"v1.1": 0.6, "v2.1": 0.4}


def test_what_a_failed_claim_would_have_moved_is_moved_by_its_successor() -> None:
    w = world(("v1", "a", None), ("v2", "b", None), ("v2", "x", None))
    w.put((replace(w.rows[key("v2")], state=State.RELEASED, takeover=None),))
    w.ready("v2.2")
    assert w.active == {"v2.2": 1.0}


def test_a_reinstated_sentinel_keeps_what_it_was() -> None:
    w = world(("v1", "a", None), ("v2", "b", None))
    w.ready("v2")
    before = w.rows[key("v1")]
    w.submit("v1", "a")
    after = w.rows[key("v1")]
    assert after.state is State.PENDING
    assert (after.created_ms, after.introduced, after.commit_hash) == (
        before.created_ms,
        before.introduced,
        before.commit_hash,
    )


def test_a_new_sentinel_carries_what_the_claim_knows() -> None:
    request = replace(ask("v1", "a", 1.0), commit_hash="abc", world_id="w1", execution_domain="live")
    claim = replace(CLAIM, introduced=("n1", "n2"))
    change = next_version((), None, None, request)
    assert not isinstance(change, Rejection)
    (made,) = begin(change, (), request, claim)
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
        takeover=Takeover(State.ACTIVE, 1.0),
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
        assert len({key(name).version for name in w.in_force}) == len(w.in_force)
    expected = w.in_force
    while w.pending():
        names = w.pending()
        w.ready(rnd.choice(names))  # type: ignore[attr-defined]  # a Random made by Hypothesis
        check(w, had_one)
        had_one = had_one or bool(w.active)
        assert w.in_force == pytest.approx(expected), "activation fulfils what was decided, no more"
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


def test_changes_travel_as_bytes() -> None:
    change = next_version(PAIR, None, None, ask("v2", "x", 0.5))
    body = msgspec.msgpack.encode(change)
    assert msgspec.msgpack.decode(body, type=VersionChange) == change
