from __future__ import annotations

from dagmanager.terminal.node_label import NodeLabels

A, B, C, D = ("blake3:" + digit * 64 for digit in "abcd")
NAMES = ((A, "price"), (B, "ema"), (C, "ema"), (D, ""))


def test_a_node_is_called_by_its_name() -> None:
    assert NodeLabels(NAMES).label(A) == "price"


def test_two_nodes_of_one_name_have_their_ids_too() -> None:
    assert NodeLabels(NAMES).label(B) == "ema (blake3:bbbbbbbb…)"


def test_a_node_without_a_name_is_called_by_its_id() -> None:
    assert NodeLabels(NAMES).label(D) == "blake3:dddddddd…"
    assert NodeLabels().label(A) == "blake3:aaaaaaaa…"


def test_whole_ids_are_shown_for_every_node_when_asked_for() -> None:
    labels = NodeLabels(NAMES, whole_ids=True)
    assert [labels.label(each) for each in (A, D)] == [f"price ({A})", D]


def test_every_id_in_a_text_becomes_a_label() -> None:
    assert (
        NodeLabels(NAMES).labelled(f"{A} -> {D}, not blake3:12") == "price -> blake3:dddddddd…, not blake3:12"
    )


def test_a_name_cannot_steer_the_terminal() -> None:
    assert NodeLabels([(A, "x\x1b[2J")]).label(A) == "x\\x1b[2J"
