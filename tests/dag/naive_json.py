"""JSON as the contract accepts it, slow and obvious: no repeated keys, nothing out of range, not too deep."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

DEPTH_MAX = 64


class Refused(Exception):  # noqa: N818 - a verdict of the twin, no error of the product
    def __init__(self, code: str, why: str = "") -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


class LongInteger(str):
    """An integer of more digits than CPython converts."""


def refuse(code: str, why: object = "") -> NoReturn:
    raise Refused(code, str(why)[:200])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        refuse("invalid_json", "duplicate key")
    return dict(pairs)


def _float(text: str) -> float:
    if math.isinf(float(text)):
        refuse("invalid_json", "out of range")
    return float(text)


def _integer(text: str) -> Any:
    return LongInteger(text) if len(text) > 4300 else int(text)


def _constant(text: str) -> NoReturn:
    refuse("invalid_json", text)


def exact(text: str) -> Any:
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_float,
            parse_int=_integer,
            parse_constant=_constant,
        )
        json.dumps(tree, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        refuse("invalid_json", error)
    return tree


def depth(tree: Any) -> int:
    if isinstance(tree, dict):
        return 1 + max(map(depth, tree.values()), default=0)
    return 1 + max(map(depth, tree), default=0) if isinstance(tree, list) else 0


def shallow(tree: Any, most: int = DEPTH_MAX) -> None:
    if depth(tree) > most:
        refuse("invalid_json", "too deep")
