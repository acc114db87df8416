"""What a submission sent is echoed bounded, printable and encodable, whatever it was."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import orjson
import pytest

from dagmanager.dag.json.json_scan import HugeInteger
from dagmanager.dag.model import Notice
from dagmanager.echo import ECHO_MAX, MESSAGE_MAX, echoed, echoed_value
from dagmanager.errors import ErrorCode, NoticeCode, Rejection

HOSTILE: list[Any] = [
    2**63,
    -(2**64),
    10**400,
    HugeInteger("9" * 5_000),
    float("nan"),
    float("inf"),
    "x" * 1_000_000,
    "\x00\x1b[31m\r\n\u2028",
    "\ud800",
    [[1, {"a": 10**400}]],
    {"a": [10**400]},
    b"bytes",
    object(),
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: type(value).__name__)
def test_every_encoder_takes_what_is_echoed(value: object) -> None:
    shown = echoed_value(value)
    rejection = Rejection(ErrorCode.INVALID_FIELD, "m", details=({"got": value, "nested": [value]},))
    for encode in (orjson.dumps, msgspec.json.encode, msgspec.msgpack.encode):
        assert len(encode(shown)) <= 4 * ECHO_MAX
        assert len(encode(rejection.as_json())) <= 8 * ECHO_MAX
    assert not isinstance(shown, str) or shown.isprintable()
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


@pytest.mark.parametrize("text", ["\x00", "\x1b[2J", "a\nb", "\ud800", "\u2028", "z" * 100_000])
def test_every_text_of_a_refusal_is_bounded_and_printable(text: str) -> None:
    found = Rejection(ErrorCode.INVALID_FIELD, text, text, text, text, text)
    assert len(found.message) <= MESSAGE_MAX
    for each in (found.message, found.field, found.node_id, found.expected, found.got):
        assert each is not None
        assert each.isprintable()
    for each in (found.field, found.node_id, found.expected, found.got):
        assert each is not None
        assert len(each) <= ECHO_MAX
    warned = Notice(NoticeCode.UNRESOLVED_DEPENDENCIES, text, text, (text,))
    assert all(each.isprintable() for each in (warned.message, warned.node_id or "", *warned.details))


@pytest.mark.parametrize("text", ["", "blake3:" + "0" * 128, "한국 e\u0301", "x" * ECHO_MAX])
def test_what_is_harmless_is_not_changed(text: str) -> None:
    assert echoed(text) is text
    found = Rejection(
        ErrorCode.EXPIRED, text, text, text, details=({"a": text, "b": 1, "c": None, "d": True},)
    )
    assert Rejection(**msgspec.structs.asdict(found)) == found
    assert found.details == ({"a": text, "b": 1, "c": None, "d": True},)


def test_a_text_that_was_cut_says_so_and_stays_the_same_when_echoed_again() -> None:
    once = echoed("\x00" * 10_000)
    assert (len(once), once[-1]) == (ECHO_MAX, "…")
    assert echoed(once) is once
