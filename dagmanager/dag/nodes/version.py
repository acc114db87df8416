"""The version label of a DAG and the share of traffic that it asks for (docs/contract.md, DAG JSON)."""

from __future__ import annotations

import math
from typing import Any, Final

from dagmanager.dag.field_errors import bounded_text, wrong_value

SENTINEL: Final = "VersionSentinel"
DEFAULT_LABEL: Final = "v1"
_SENTINEL_LABELS: Final = ("version", "strategy_version", "build_version")
_DAG_LABELS: Final = ("strategy_version", "version")
_META_LABELS: Final = ("version", "strategy_version", "build_version")
_WEIGHTS: Final = ("traffic_weight", "sentinel_weight", "weight")


def clean_label(raw: str | float | None) -> str:
    """A label as topics and sentinels have it: letters (of Unicode), digits, `-_.`; anything else becomes `-`.

    `-_.` are trimmed from both ends; an empty label becomes `v1`.
    """
    text = "" if raw is None else str(raw).strip()
    kept = "".join(char if char.isalnum() or char in "-_." else "-" for char in text)
    return kept.strip("-_.") or DEFAULT_LABEL


def version_label(
    sentinels: list[tuple[str, dict[str, Any]]], head: dict[str, Any], meta: dict[str, Any]
) -> str:
    """The first label of: sentinel entries, the DAG, its `meta`; else `v1`.

    `sentinels` are pairs of pointer and entry. Raises `FieldError` for a label that is not a text or number, or is
    too long; all labels are checked, also those that are not used.
    """
    sources: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
        (pointer, entry, _SENTINEL_LABELS) for pointer, entry in sentinels
    ]
    sources += [("", head, _DAG_LABELS), ("/meta", meta, _META_LABELS)]
    found: str | float | None = None
    for pointer, fields, names in sources:
        for name in names:
            value = fields.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise wrong_value(f"{pointer}/{name}", "text or a number", value)
            text = bounded_text(str(value), f"{pointer}/{name}")
            if found is None and text.strip():
                found = value
    return clean_label(found)


def traffic_weight(sentinels: list[tuple[str, dict[str, Any]]]) -> float | None:
    """The share of traffic that a sentinel entry asks for, clamped to 0-1; None if none does. Raises `FieldError`."""
    found: float | None = None
    for pointer, entry in sentinels:
        for name in _WEIGHTS:
            value = entry.get(name)
            if value is None:
                continue
            weight = _weight(value, f"{pointer}/{name}")
            if found is None:
                found = weight
    return found


def _weight(value: Any, pointer: str) -> float:
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            raise wrong_value(pointer, "a number from 0 to 1", value) from None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise wrong_value(pointer, "a number from 0 to 1", value)
    if isinstance(number, float) and not math.isfinite(number):
        raise wrong_value(pointer, "a finite number", value)
    return float(min(max(number, 0), 1))
