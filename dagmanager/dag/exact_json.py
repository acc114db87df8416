"""Exact JSON, fast: msgspec reads, a count of quotes proves that no key was lost, doubt goes to `scan`.

msgspec refuses NaN, bad escapes and lone surrogates by itself and reads integers exactly; it keeps
the last of two equal keys. A lost member is two quotes less when the value is written again.
"""

from __future__ import annotations

from itertools import repeat
from operator import add
from typing import Any

import msgspec
import orjson

from dagmanager.dag.json_scan import JsonProblem, scan

_decode = msgspec.json.Decoder().decode
_split_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_split_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_dump = orjson.dumps

# What msgspec raises on text it does not take.
BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse(data: bytes, depth_max: int) -> Any:
    """The value of one JSON text, or a `JsonProblem`; its pointer and offset count from `data`."""
    try:
        tree = _decode(data)
    except BROKEN:
        return scan(data, depth_max)
    if type(tree) is str:
        return tree
    if data.count(b"{") + data.count(b"[") > depth_max and depth_of(tree) > depth_max:
        return scan(data, depth_max)
    return tree if _no_key_lost(data, tree) else scan(data, depth_max)


def parse_many(texts: list[bytes], depth_max: int) -> list[Any]:
    """`parse` of each text, in one go; one doubtful text costs the others a second reading."""
    if len(texts) > 1:
        joined = b"[" + b",".join(texts) + b"]"
        try:
            trees: list[Any] = _decode(joined)
        except BROKEN:
            trees = []
        openings = map(add, map(bytes.count, texts, repeat(b"{")), map(bytes.count, texts, repeat(b"[")))
        if len(trees) == len(texts) and max(openings) <= depth_max and _no_key_lost(joined, trees):
            return trees
    return [parse(text, depth_max) for text in texts]


def _no_key_lost(data: bytes, tree: Any) -> bool:
    """True when `tree` surely holds every member of `data`; False means "look closely".

    Quotes that delimit a text are as many as quotes less escaped ones, unless a backslash is
    itself escaped: then we cannot tell.
    """
    try:
        again = _dump(tree)
    except TypeError:  # an integer beyond 64 bits
        return False
    quotes = data.count(b'"')
    if b"\\" not in data:
        return quotes == again.count(b'"')
    if b"\\\\" in data or b"\\\\" in again:
        return False
    return quotes - data.count(b'\\"') == again.count(b'"') - again.count(b'\\"')


def depth_of(tree: Any) -> int:
    """Nested objects and lists: 0 for a plain value, 1 for a flat object. Level by level, no recursion."""
    depth = 0
    level = [tree]
    while True:
        inner = [item for item in level if isinstance(item, dict | list)]
        if not inner:
            return depth
        depth += 1
        level = [child for item in inner for child in (item.values() if isinstance(item, dict) else item)]


def members(data: bytes, depth_max: int) -> dict[str, bytes] | JsonProblem:
    """An object's members, each still as JSON text; proves that no key appears twice.

    What is not an object is a problem too. Members are checked for syntax only: `parse` them.
    """
    try:
        raw = _split_object(data)
    except BROKEN:
        problem = scan(data, depth_max)
        return problem if isinstance(problem, JsonProblem) else not_an_object()
    found = {key: bytes(value) for key, value in raw.items()}
    if keys_are_distinct(data, found):
        return found
    problem = scan(data, depth_max)
    return problem if isinstance(problem, JsonProblem) else found


class _Nodes(msgspec.Struct, gc=False):
    nodes: list[msgspec.Raw]


_split_nodes = msgspec.json.Decoder(_Nodes).decode


def split_nodes(data: bytes, depth_max: int) -> tuple[dict[str, bytes] | JsonProblem, list[bytes] | None]:
    """`members` of a DAG, and the items of its `nodes` where that took one reading less.

    The list is cut out when its items, joined again, stand in the text as they are; the rest must
    then be an object with an empty `nodes`: so the text that was cut out is the list and nothing else.
    """
    try:
        raws = list(map(bytes, _split_nodes(data).nodes))
    except BROKEN:
        raws = []
    if raws:
        start = data.find(raws[0])
        for between in (b",", b", "):
            listed = between.join(raws)
            if data.startswith(listed, start):
                rest = members(data[:start] + data[start + len(listed) :], depth_max)
                if isinstance(rest, dict) and rest.get("nodes") == b"[]":
                    return rest, raws
                break
    return members(data, depth_max), None


def not_an_object() -> JsonProblem:
    """The problem of a text whose top level is something else."""
    return JsonProblem("the top level is not an object", "", 0, 1, 1)


def keys_are_distinct(data: bytes, found: dict[str, bytes], quotes_elsewhere: int = 0) -> bool:
    """Whether `found` accounts for every quote of `data`; False means "look closely".

    The largest member is left out on both sides (it is most of the text), wherever its bytes stand.
    `quotes_elsewhere` are quotes of `data` known to lie outside the object.
    """
    if not found:
        return data.count(b'"') == quotes_elsewhere
    largest = max(found.values(), key=len)
    at = data.find(largest[:256])
    if at >= 0 and data.startswith(largest, at):
        outside = data.count(b'"', 0, at) + data.count(b'"', at + len(largest))
    else:
        outside = data.count(b'"') - largest.count(b'"')
    expected = quotes_elsewhere + 2 * len(found)
    skipped = False
    for key, value in found.items():
        if '"' in key:
            return False
        if value is largest and not skipped:
            skipped = True
        else:
            expected += value.count(b'"')
    return outside == expected


def items(data: bytes) -> list[bytes] | None:
    """A list's items, each still as JSON text; None when `data` is no well-formed list."""
    try:
        return list(map(bytes, _split_list(data)))
    except BROKEN:
        return None


def is_utf8(data: bytes) -> bool:
    """Whether all of `data` is valid UTF-8 (encoded surrogates are not)."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
