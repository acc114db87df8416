"""Exact JSON at C speed: msgspec parses, and only doubtful texts go to slower readers.

msgspec refuses NaN, bad escapes and lone surrogates, and reads integers of 64 bits exactly. What it lacks: of two equal
keys it keeps the last one silently, it refuses longer integers, and its errors have no JSON pointer.

Repeated keys are found by counting quotes. Write the parsed value again (orjson): each lost member takes at least two
quotes away, those of its key. So equal numbers of quotes prove that no member was lost, and two counts cost far less
than a parser of our own. Unequal numbers prove nothing (see `_no_key_lost`); then the standard library looks at every
key.

Three readers, by speed: msgspec; `json` with hooks (exact, no positions); `json_scan.scan` (exact, with positions). `scan`
is asked up to `SCAN_MAX` only: a broken text of 8 MiB takes it 1 s as a usual DAG, and 24 s as a list of single digits,
where the others take 0.1 s. One such record would stop a worker for that long.
"""

from __future__ import annotations

import json
import math
import re
from itertools import chain, pairwise
from typing import Any, Final

import msgspec
import orjson

from dagmanager.dag.json.json_scan import DIGITS_MAX, TOO_DEEP, HugeInteger, JsonProblem, problem_at, scan

_decode = msgspec.json.Decoder().decode
_split_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_split_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_dump = orjson.dumps

# Bytes up to which `scan` looks for the position of a problem (0.1 s as a usual DAG). Longer texts are refused without one.
SCAN_MAX: Final = 256 * 1024
_BYTE_OF = re.compile(r"\(byte (\d+)\)")

# How many texts `parse_many` checks for depth together.
_GROUP_SIZE: Final = 4

# What msgspec raises for text that it refuses.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse(data: bytes, depth_max: int) -> Any:
    """The value of one JSON text, or a `JsonProblem`, whose pointer and offset count from `data`.

    `depth_max` bounds nested objects and lists. An integer of more than `DIGITS_MAX` digits is a `HugeInteger`.
    """
    try:
        tree = _decode(data)
    except DECODE_ERRORS as error:
        return _diagnosed(data, depth_max, error)
    if type(tree) is str:
        return tree
    # Counting brackets is cheap, and few brackets cannot nest deep; the exact depth takes a walk over the value.
    if _open_brackets(data) > depth_max and depth_of(tree) > depth_max:
        return _with_position(data, depth_max, _without_position(TOO_DEEP))
    if _no_key_lost(data, tree):
        return tree
    key = _repeated_key(data)
    return tree if key is None else _with_position(data, depth_max, _repeated_key_error(key))


def _diagnosed(data: bytes, depth_max: int, error: Exception) -> Any:
    """Why msgspec refused a text; or its value, if a very long integer was the only reason."""
    if len(data) <= SCAN_MAX:
        return scan(data, depth_max)
    if isinstance(error, msgspec.ValidationError):
        return _read_without_positions(data, depth_max)
    if isinstance(error, RecursionError):
        return _without_position(TOO_DEEP)
    if isinstance(error, UnicodeDecodeError):
        return _without_position("invalid UTF-8")
    found = _BYTE_OF.search(str(error))
    return problem_at("malformed JSON", data, int(found.group(1)) if found else len(data))


def _without_position(reason: str) -> JsonProblem:
    return JsonProblem(reason, "", -1, 0, 0)


def _read_without_positions(data: bytes, depth_max: int) -> Any:
    """As `scan` without positions, by the standard library: for long texts with a number that msgspec refuses."""
    try:
        tree = _read_exactly(data.decode())
    except _RepeatedKeyError as found:
        return _repeated_key_error(str(found.args[0]))
    except RecursionError:
        return _without_position(TOO_DEEP)
    except (ValueError, OverflowError):
        return _without_position("malformed JSON, or a number too large for a double")
    if depth_of(tree) > depth_max:
        return _without_position(TOO_DEEP)
    return tree if _has_no_surrogate(tree) else _without_position("a lone surrogate in a text")


def _with_position(data: bytes, depth_max: int, problem: JsonProblem) -> JsonProblem:
    """A problem that was found, with its position if the text is short enough to look for it."""
    found = scan(data, depth_max) if len(data) <= SCAN_MAX else problem
    return found if isinstance(found, JsonProblem) else problem


def _repeated_key_error(key: str) -> JsonProblem:
    return _without_position(f"the key {key[:80]!r} appears twice")


class _RepeatedKeyError(Exception):
    pass


def _distinct_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = sorted(key for key, _ in pairs)
        raise _RepeatedKeyError(next(key for key, other in pairwise(keys) if key == other))
    return members


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OverflowError(text[:80])
    return number


def _exact_integer(text: str) -> int | HugeInteger:
    return HugeInteger(text) if len(text) > DIGITS_MAX else int(text)


def _refuse_constant(text: str) -> Any:
    raise ValueError(text)


def _has_no_surrogate(tree: Any) -> bool:
    """Level by level, not recursively: one `join` and `encode` per level."""
    level = [tree]
    while level:
        objects = [item for item in level if isinstance(item, dict)]
        lists = [item for item in level if isinstance(item, list)]
        texts = [item for item in level if isinstance(item, str)]
        try:
            "".join(chain(texts, chain.from_iterable(objects))).encode()
        except UnicodeEncodeError:
            return False
        level = list(chain.from_iterable(chain(lists, map(dict.values, objects))))
    return True


_read_exactly = json.JSONDecoder(
    object_pairs_hook=_distinct_members,
    parse_float=_finite_float,
    parse_int=_exact_integer,
    parse_constant=_refuse_constant,
).decode
# Numbers stay text, which is faster: only keys matter here.
_read_keys = json.JSONDecoder(object_pairs_hook=_distinct_members, parse_int=str, parse_float=str).decode


def _repeated_key(data: bytes) -> str | None:
    """A key that some object of a valid text has twice; None if there is none. `RecursionError` if it is too deep."""
    try:
        _read_keys(data.decode())
    except _RepeatedKeyError as found:
        return str(found.args[0])
    return None


def parse_many(texts: list[bytes], depth_max: int) -> list[Any]:
    """`parse` of each text, all in one call of msgspec. If one text is doubtful, all are parsed again one by one."""
    if len(texts) > 1:
        groups = [
            b",".join(texts[start : start + _GROUP_SIZE]) for start in range(0, len(texts), _GROUP_SIZE)
        ]
        joined = b"[" + b",".join(groups) + b"]"
        try:
            trees: list[Any] = _decode(joined)
        except DECODE_ERRORS:
            trees = []
        if len(trees) == len(texts) and _no_key_lost(joined, trees):
            # The common case: a whole group has so few brackets that none of its texts can be too deep.
            if all(_open_brackets(group) <= depth_max for group in groups):
                return trees
            if all(
                _open_brackets(text) <= depth_max or depth_of(tree) <= depth_max
                for text, tree in zip(texts, trees, strict=True)
            ):
                return trees
    return [parse(text, depth_max) for text in texts]


def _open_brackets(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")


def _no_key_lost(data: bytes, tree: Any) -> bool:
    """True when `tree` certainly has every member of `data`; False means that a closer look is needed.

    The quotes that delimit texts are all quotes less the escaped ones (`\\"`). That count is wrong when a backslash
    is escaped itself (`\\\\"`): False then.
    """
    try:
        again = _dump(tree)
    except TypeError:  # an integer of more than 64 bits
        return False
    if data == again:
        return True
    quotes = data.count(b'"')
    if b"\\" not in data:
        return quotes == again.count(b'"')
    if b"\\\\" in data or b"\\\\" in again:
        return False
    return quotes - data.count(b'\\"') == again.count(b'"') - again.count(b'\\"')


def depth_of(tree: Any) -> int:
    """Levels of nested objects and lists: 0 for a plain value, 1 for a flat object. Not recursive."""
    depth = 0
    level = [tree]
    while True:
        inner = [item for item in level if isinstance(item, dict | list)]
        if not inner:
            return depth
        depth += 1
        level = [child for item in inner for child in (item.values() if isinstance(item, dict) else item)]


def members(data: bytes, depth_max: int) -> dict[str, bytes] | JsonProblem:
    """The members of an object, each still as JSON text; or a `JsonProblem`, also for a text that is no object.

    A key that appears twice is found at the first level; the members are checked for syntax only.
    """
    try:
        raw = _split_object(data)
    except DECODE_ERRORS as error:
        problem = scan(data, depth_max) if len(data) <= SCAN_MAX else _not_members(data, depth_max, error)
        return problem if isinstance(problem, JsonProblem) else not_an_object()
    found = {key: bytes(value) for key, value in raw.items()}
    if not keys_are_distinct(data, found):
        problem = repeated_key_problem(data, depth_max)
        if problem:
            return problem
    return found


def repeated_key_problem(data: bytes, depth_max: int) -> JsonProblem | None:
    """The problem of a valid text in which some object has a key twice; None if there is none."""
    try:
        key = _repeated_key(data)
    except RecursionError:
        return _with_position(data, depth_max, _without_position(TOO_DEEP))
    return None if key is None else _with_position(data, depth_max, _repeated_key_error(key))


def _not_members(data: bytes, depth_max: int, error: Exception) -> Any:
    """Why a text that is too long for `scan` could not be split into members."""
    first = data.lstrip(b" \t\r\n")[:1]
    if isinstance(error, msgspec.ValidationError):
        return not_an_object() if first != b"{" else _read_without_positions(data, depth_max)
    return _diagnosed(data, depth_max, error)


def not_an_object() -> JsonProblem:
    """The problem of a text whose top level is not an object."""
    return JsonProblem("the top level is not an object", "", 0, 1, 1)


def keys_are_distinct(data: bytes, found: dict[str, bytes], quotes_elsewhere: int = 0) -> bool:
    """True when the object `data` certainly has no other members than `found`; False: a closer look is needed.

    All quotes of `data` are those of keys and of member texts; a repeated key leaves some over. The largest member
    (the DAG is most of a record) is not counted on either side. `quotes_elsewhere` are quotes of `data` that are
    known to lie outside the object.
    """
    if not found:
        return data.count(b'"') == quotes_elsewhere
    largest = max(found.values(), key=len)
    at = data.find(largest[:256])
    if at >= 0 and data.startswith(largest, at):
        quotes_outside = data.count(b'"', 0, at) + data.count(b'"', at + len(largest))
    else:
        quotes_outside = data.count(b'"') - largest.count(b'"')
    expected = quotes_elsewhere + 2 * len(found)
    skipped = False
    for key, value in found.items():
        if '"' in key:  # it was escaped: two quotes per key would be wrong
            return False
        if value is largest and not skipped:
            skipped = True
        else:
            expected += value.count(b'"')
    return quotes_outside == expected


class _Nodes(msgspec.Struct, gc=False):
    nodes: list[msgspec.Raw]


_split_nodes = msgspec.json.Decoder(_Nodes).decode


def split_nodes(data: bytes, nodes_max: int) -> tuple[bytes, list[bytes]] | int | None:
    """The text of a DAG with an empty `nodes`, and the items of `nodes` as JSON texts, in one pass.

    The items are cut out of the text as one piece, which is possible when it is written with `,` or `, ` between
    them. The caller must check that `nodes` is an empty list in the rest: that proves that the piece was exactly that
    list. None when the text is indented or broken: read it member by member. Only the number of items when there are
    more than `nodes_max`.
    """
    try:
        found = _split_nodes(data).nodes
    except DECODE_ERRORS:
        return None
    if len(found) > nodes_max:
        return len(found)
    raws = list(map(bytes, found))
    if not raws:
        return data, raws
    start = data.find(raws[0])
    for between in (b",", b", "):
        listed = between.join(raws)
        if data.startswith(listed, start):
            return data[:start] + data[start + len(listed) :], raws
    return None


def items(data: bytes) -> list[bytes] | None:
    """The items of a list, each still as JSON text; None when `data` is not a valid list."""
    try:
        return list(map(bytes, _split_list(data)))
    except DECODE_ERRORS:
        return None


def is_utf8(data: bytes) -> bool:
    """Whether `data` is valid UTF-8; encoded surrogates are not."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
