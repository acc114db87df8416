"""What a submission changes about its lineage, one rule of docs/semantics.md 6 a case."""

from __future__ import annotations

import msgspec
import pytest

from dagmanager.engine.decide.next_version import next_version
from dagmanager.engine.decide.rollout import start_change
from dagmanager.engine.model.version_change import AddHolder, ChangeWeight, ClaimTerms, Resend, VersionChange
from dagmanager.engine.model.version_rows import SentinelState
from dagmanager.errors import ErrorCode, Rejection
from tests.engine.lineage import Submitted, ask, change_of, holder, key, prompt, short_key

ONE = (("v1", "a", None),)
PAIR = (*ONE, ("v2", "b", 0.1))
PARKED = (*ONE, ("v2", "b", 0.0))
EDITED = (*ONE, ("v1", "b", None))
REPLACED = (*ONE, ("v2", "b", None))

# What was submitted, what is submitted now → kind of change, version, what is in force then, warnings.
CASES: dict[str, tuple[tuple[Submitted, ...], Submitted, str, str, dict[str, float], tuple[str, ...]]] = {
    "first version ever": ((), ("v1", "a", None), "NewSentinel", "v1.1", {"v1.1": 1.0}, ()),
    "first version with a share": (
        (),
        ("v1", "a", 0.2),
        "NewSentinel",
        "v1.1",
        {"v1.1": 1.0},
        ("only_version",),
    ),
    "first version parked": ((), ("v1", "a", 0.0), "NewSentinel", "v1.1", {"v1.1": 1.0}, ("only_version",)),
    "same label and content": (ONE, ("v1", "a", None), "AddHolder", "v1.1", {"v1.1": 1.0}, ()),
    "same in a pair": (PAIR, ("v2", "b", None), "ChangeWeight", "v2.1", {"v1.1": 0.9, "v2.1": 0.1}, ()),
    "same weight as anyone sent": (
        PAIR,
        ("v2", "b", 0.1),
        "ChangeWeight",
        "v2.1",
        {"v1.1": 0.9, "v2.1": 0.1},
        (),
    ),
    "another share": (
        PAIR,
        ("v2", "b", 0.5),
        "ChangeWeight",
        "v2.1",
        {"v1.1": 0.5, "v2.1": 0.5},
        ("weight_contested",),
    ),
    "another share of the older one": (
        PAIR,
        ("v1", "a", 0.3),
        "ChangeWeight",
        "v1.1",
        {"v1.1": 0.3, "v2.1": 0.7},
        (),
    ),
    "promote": (PAIR, ("v2", "b", 1.0), "ChangeWeight", "v2.1", {"v2.1": 1.0}, ("weight_contested",)),
    "park one of a pair": (
        PAIR,
        ("v2", "b", 0.0),
        "ChangeWeight",
        "v2.1",
        {"v1.1": 1.0},
        ("weight_contested",),
    ),
    "the only one asked for less": (
        ONE,
        ("v1", "a", 0.5),
        "ChangeWeight",
        "v1.1",
        {"v1.1": 1.0},
        ("only_version",),
    ),
    "same label, other content": (ONE, ("v1", "x", None), "NewSentinel", "v1.2", {"v1.2": 1.0}, ()),
    "same label, other content, in a pair": (
        PAIR,
        ("v2", "x", None),
        "NewSentinel",
        "v2.2",
        {"v1.1": 0.9, "v2.2": 0.1},
        (),
    ),
    "same label, other content, with a share": (
        ONE,
        ("v1", "x", 0.2),
        "NewSentinel",
        "v1.2",
        {"v1.1": 0.8, "v1.2": 0.2},
        (),
    ),
    "same label, other content, another share": (
        PAIR,
        ("v2", "x", 0.5),
        "NewSentinel",
        "v2.2",
        {"v1.1": 0.5, "v2.2": 0.5},
        (),
    ),
    "same label, other content, promoted": (PAIR, ("v2", "x", 1.0), "NewSentinel", "v2.2", {"v2.2": 1.0}, ()),
    "same label, other content, parked": (PAIR, ("v2", "x", 0.0), "NewSentinel", "v2.2", {"v1.1": 1.0}, ()),
    "an edit and its undo": (
        EDITED,
        ("v1", "a", None),
        "Reinstate",
        "v1.1",
        {"v1.1": 1.0},
        ("label_reused",),
    ),
    "other content of a parked label stays parked": (
        PARKED,
        ("v2", "x", None),
        "NewSentinel",
        "v2.2",
        {"v1.1": 1.0},
        (),
    ),
    "other content of a parked label with a share": (
        PARKED,
        ("v2", "x", 0.2),
        "NewSentinel",
        "v2.2",
        {"v1.1": 0.8, "v2.2": 0.2},
        (),
    ),
    "parked and sent without a weight": (
        PARKED,
        ("v2", "b", None),
        "ChangeWeight",
        "v2.1",
        {"v1.1": 1.0},
        (),
    ),
    "parked and sent with a share": (
        PARKED,
        ("v2", "b", 0.2),
        "ChangeWeight",
        "v2.1",
        {"v1.1": 0.8, "v2.1": 0.2},
        ("weight_contested",),
    ),
    "parked and sent with 0 again": (PARKED, ("v2", "b", 0.0), "ChangeWeight", "v2.1", {"v1.1": 1.0}, ()),
    "another label": (ONE, ("v2", "b", None), "NewSentinel", "v2.1", {"v2.1": 1.0}, ()),
    "another label, same content": (ONE, ("v2", "a", None), "NewSentinel", "v2.1", {"v2.1": 1.0}, ()),
    "another label supersedes a pair": (PAIR, ("v3", "c", None), "NewSentinel", "v3.1", {"v3.1": 1.0}, ()),
    "canary": (ONE, ("v2", "b", 0.1), "NewSentinel", "v2.1", {"v1.1": 0.9, "v2.1": 0.1}, ()),
    "another label parked": (
        PAIR,
        ("v3", "c", 0.0),
        "NewSentinel",
        "v3.1",
        {"v1.1": 0.9, "v2.1": 0.1},
        (),
    ),
    "a weight beyond 1": (ONE, ("v2", "b", 7.0), "NewSentinel", "v2.1", {"v2.1": 1.0}, ()),
    "an old client sends a superseded label again": (
        REPLACED,
        ("v1", "a", None),
        "Reinstate",
        "v1.1",
        {"v2.1": 1.0},
        ("superseded_version",),
    ),
    "a superseded label comes back with a weight": (
        REPLACED,
        ("v1", "a", 1.0),
        "Reinstate",
        "v1.1",
        {"v1.1": 1.0},
        (),
    ),
    "a superseded label with other content": (
        REPLACED,
        ("v1", "x", None),
        "NewSentinel",
        "v1.2",
        {"v1.2": 1.0},
        (),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rules_of_semantics_6(name: str) -> None:
    submitted, now, kind, version, in_force, notices = CASES[name]
    w = prompt(*submitted)
    change = w.submit(*now)
    assert not isinstance(change, Rejection), change
    assert (type(change).__name__, short_key(change_of(change))) == (kind, version)
    assert w.in_force == pytest.approx(in_force)
    assert tuple(notice.code for notice in change.warnings) == notices


@pytest.mark.parametrize("state", [SentinelState.ROLLED_BACK, SentinelState.ARCHIVED])
def test_what_was_rolled_back_or_archived_gets_a_new_revision(state: SentinelState) -> None:
    w = prompt(*REPLACED)
    w.set_state("v1", state)
    change = w.submit("v1", "a")
    assert not isinstance(change, Rejection)
    assert short_key(change_of(change)) == "v1.2"
    rolled_back = ("rolled_back_content",) if state is SentinelState.ROLLED_BACK else ()
    assert tuple(notice.code for notice in change.warnings) == rolled_back


def test_rolled_back_content_is_named_under_any_label() -> None:
    w = prompt(*REPLACED)
    w.set_state("v1", SentinelState.ROLLED_BACK)
    change = w.submit("v9", "a")
    assert not isinstance(change, Rejection)
    assert [notice.code for notice in change.warnings] == ["rolled_back_content"]


@pytest.mark.parametrize("state", [SentinelState.RELEASED, SentinelState.EXPIRED])
def test_a_content_that_was_released_or_expired_is_reinstated(state: SentinelState) -> None:
    w = prompt(*PAIR)
    w.set_state("v2", state)
    change = w.submit("v2", "b", 0.3)
    assert not isinstance(change, Rejection)
    assert (type(change).__name__, short_key(change_of(change))) == ("Reinstate", "v2.1")
    assert w.in_force == pytest.approx({"v1.1": 0.7, "v2.1": 0.3})


@pytest.mark.parametrize(
    ("state", "referencing"),
    [(state, state in {"pending", "active", "parked"}) for state in SentinelState],
)
def test_an_identical_resend_is_a_question(state: SentinelState, referencing: bool) -> None:
    w = prompt(*REPLACED)
    w.set_state("v1", state)
    request = ask("v1", "a", at_ms=1)
    held = holder("v1", None, request.submission_digest)
    change = next_version(w.sentinels, None, held, request)
    assert change == Resend(w.rows[key("v1")], referencing)
    assert start_change(change, w.sentinels, request, ClaimTerms("c", "p", 1, 1)) == ()


def test_an_edit_of_a_canary_with_the_weight_its_sender_gave_inherits_its_share() -> None:
    w = prompt(*PAIR, ("v2", "b", 0.5))
    w.submit("v2", "x", 0.1, sent_before=holder("v2", 0.1))
    assert w.in_force == {"v1.1": 0.5, "v2.2": 0.5}


def test_weights_of_two_senders_within_an_hour_are_contested() -> None:
    w = prompt(*PAIR)
    at_ms = w.at_ms
    hour = 3_600_000
    for held, later_ms, expected in [
        (None, hour, ["weight_contested"]),
        (None, hour + 1, []),
        (holder("v2", 0.1), 1, []),
    ]:
        change = next_version(w.sentinels, None, held, ask("v2", "b", 0.5, at_ms=at_ms + later_ms))
        assert not isinstance(change, Rejection)
        assert [notice.code for notice in change.warnings] == expected


OLDER: dict[str, tuple[tuple[Submitted, ...], Submitted, str, dict[str, float], tuple[str, ...]]] = {
    "new content": (ONE, ("v1", "x", None), "NewSentinel", {"v1.1": 1.0}, ("older_than_current",)),
    "new label": (ONE, ("v2", "b", None), "NewSentinel", {"v1.1": 1.0}, ("older_than_current",)),
    "new label with all": (ONE, ("v2", "b", 1.0), "NewSentinel", {"v1.1": 1.0}, ("older_than_current",)),
    "content in force": (ONE, ("v1", "a", None), "ChangeWeight", {"v1.1": 1.0}, ()),
    "an older weight": (
        PAIR,
        ("v2", "b", 0.7),
        "ChangeWeight",
        {"v1.1": 0.9, "v2.1": 0.1},
        ("weight_contested",),
    ),
}


@pytest.mark.parametrize("name", OLDER)
def test_an_older_record_is_answered_and_never_undoes_a_newer_one(name: str) -> None:
    submitted, now, kind, in_force, notices = OLDER[name]
    w = prompt(*submitted)
    change = w.submit(*now, at_ms=1)
    assert not isinstance(change, Rejection), change
    assert type(change).__name__ == kind
    assert w.in_force == pytest.approx(in_force)
    assert tuple(notice.code for notice in change.warnings) == notices


def test_an_older_first_record_of_a_version_takes_its_place() -> None:
    """v1 is resent before its own first record, and v2 between them, is read."""
    w = prompt()
    w.submit("v1", "a", at_ms=30)
    w.ready("v1")
    w.submit("v2", "b", at_ms=20)
    w.ready("v2")
    assert w.active == {"v1.1": 1.0}
    w.submit("v1", "a", at_ms=10)
    assert w.active == {"v2.1": 1.0}


def test_a_superseded_version_comes_back_when_an_older_record_of_its_successor_is_read() -> None:
    w = prompt()
    for version, content, at_ms in [("v3", "c", 3), ("v2", "b", 5)]:
        w.submit(version, content, at_ms=at_ms)
        w.ready(version)
    assert w.rows[key("v3")].state is SentinelState.SUPERSEDED
    change = w.submit("v2", "b", at_ms=2)
    assert isinstance(change, ChangeWeight)
    assert change.returning == (key("v3"),)
    assert w.active == {"v2.1": 1.0}, "until the queues of v3 are checked"
    w.ready("v3")
    assert w.active == {"v3.1": 1.0}


@pytest.mark.parametrize("submitted", [PAIR, (*ONE, ("v3", "c", None), ("v1", "a", 1.0), ("v2", "b", 0.1))])
def test_a_third_version_is_refused_with_a_remedy(submitted: tuple[Submitted, ...]) -> None:
    refused = prompt(*submitted).submit("v3", "c", 0.2)
    assert isinstance(refused, Rejection)
    assert refused.code is ErrorCode.TOO_MANY_VERSIONS
    assert refused.message.startswith("v1 (revision 1) and v2 (revision 1) are in force")
    assert "again with weight 1" in refused.message
    assert (refused.field, refused.got) == ("weight", "v3")


def test_one_more_holder_writes_no_sentinel() -> None:
    w = prompt(*ONE)
    request = ask("v1", "a", at_ms=99)
    change = next_version(w.sentinels, None, None, request)
    assert isinstance(change, AddHolder)
    assert start_change(change, w.sentinels, request, ClaimTerms("c", "p", 1, 1)) == ()


def test_changes_travel_as_bytes() -> None:
    change = next_version(prompt(*PAIR).sentinels, None, None, ask("v2", "x", 0.5, at_ms=99))
    body = msgspec.msgpack.encode(change)
    assert msgspec.msgpack.decode(body, type=VersionChange) == change
