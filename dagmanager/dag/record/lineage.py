"""The lineage of a DAG: which strategy it is a version of (docs/semantics.md 2, Lineage)."""

from __future__ import annotations

import re
from typing import Any

from dagmanager.dag.field_errors import wrong_value
from dagmanager.dag.model import Notice
from dagmanager.errors import NoticeCode

_looks_random = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.ASCII | re.IGNORECASE
).fullmatch


def lineage_of(head: dict[str, Any], paths: tuple[str, ...], strategy_id: str) -> tuple[str, Notice | None]:
    """The first non-empty text at one of `paths` (dotted, into the DAG), else the strategy id.

    A strategy id that looks like a UUID is new with every submission and links no versions: a notice says so.
    Raises `FieldError` for a value that is not a text.
    """
    for path in paths:
        value: Any = head
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is None:
            continue
        if not isinstance(value, str):
            raise wrong_value("/" + path.replace(".", "/"), "text", value)
        if stripped := value.strip():
            return stripped, None
    if not _looks_random(strategy_id):
        return strategy_id, None
    where = " or ".join(paths) or "the DAG"
    message = f"no name in {where}: strategy id {strategy_id} looks random, so nothing links its versions"
    return strategy_id, Notice(NoticeCode.LINEAGE_UNKNOWN, message)
