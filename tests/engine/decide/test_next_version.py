from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from dagmanager.engine.decide.next_version import next_version
from dagmanager.engine.decide.rollout import start_change
from dagmanager.engine.model.rows import LineageRow, SentinelState
from dagmanager.engine.model.version_change import (
    ChangeWeight,
    ClaimTerms,
    Resend,
    VersionChange,
    VersionRequest,
)
from dagmanager.errors import ErrorCode, Rejection
from tests.engine.lineage import (
    CLAIM,
    LINEAGE,
    ONE,
    PAIR,
    PARKED,
    Rows,
    State,
    ask,
    holder,
    row,
    summary_of,
)

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
def test_the_rules_of_semantics_6(name: str) -> None:
    sentinels, request, expected, notices = CASES[name]
    change = next_version(sentinels, LineageRow(LINEAGE, 5), None, request)
    assert summary_of(change) == expected
    assert not isinstance(change, Rejection)
    assert tuple(notice.code for notice in change.warnings) == notices


@pytest.mark.parametrize("state", [State.SUPERSEDED, State.PARKED, State.RELEASED, State.EXPIRED])
def test_a_content_that_was_in_force_is_reinstated(state: SentinelState) -> None:
    change = next_version((row("v1", "a"), row("v2", "b", state, 0.0)), None, None, ask("v2", "b"))
    assert summary_of(change) == ("Reinstate", "v2.1", "active", 1.0, ("v1.1",), ())


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
    assert start_change(change, sentinels, request, ClaimTerms("c", "p", 1, 1)) == ()


@pytest.mark.parametrize("weight", [0.25, 0.5, None])
def test_a_weight_is_compared_with_the_one_that_this_holder_sent(weight: float | None) -> None:
    change = next_version(PAIR, None, holder("v2", 0.25), ask("v2", "b", weight))
    assert isinstance(change, ChangeWeight) == (weight == 0.5)


def test_what_a_holder_sent_for_another_version_does_not_count() -> None:
    change = next_version(PAIR, None, holder("v1", 0.5), ask("v2", "b", 0.5))
    assert isinstance(change, ChangeWeight)


def test_an_unused_weight_is_stored() -> None:
    request = ask("v1", "a", 0.2)
    change = next_version(ONE, None, None, request)
    (changed,) = start_change(change, ONE, request, CLAIM) if not isinstance(change, Rejection) else ()
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
def test_a_third_version_is_refused_with_a_remedy(sentinels: Rows) -> None:
    refused = next_version(sentinels, None, None, ask("v3", "c", 0.1))
    assert isinstance(refused, Rejection)
    assert refused.code is ErrorCode.TOO_MANY_VERSIONS
    assert refused.message.startswith("v1 (revision 1) and v2 (revision 1) are in force")
    assert "again with weight 1" in refused.message
    assert (refused.field, refused.got) == ("weight", "v3")


def test_changes_travel_as_bytes() -> None:
    change = next_version(PAIR, None, None, ask("v2", "x", 0.5))
    body = msgspec.msgpack.encode(change)
    assert msgspec.msgpack.decode(body, type=VersionChange) == change
