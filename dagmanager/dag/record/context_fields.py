"""A compute context as clients write it, in any of the places where they put it."""

from __future__ import annotations

from typing import Any

from dagmanager.dag.field_errors import bounded_text, field_error, flag_at, text_at
from dagmanager.dag.model import UnresolvedContext
from dagmanager.dag.record.compute_key import SEPARATOR


def read_context(fields: dict[str, Any], pointer: str) -> UnresolvedContext:
    """The context fields of an object, checked to be text; `downgraded` counts as `safe_mode`.

    Raises `FieldError`.
    """
    if not fields:
        return UnresolvedContext()
    return UnresolvedContext(
        world_id=context_text(fields, "world_id", pointer),
        execution_domain=context_text(fields, "execution_domain", pointer),
        as_of=context_text(fields, "as_of", pointer),
        partition=context_text(fields, "partition", pointer),
        dataset_fingerprint=context_text(fields, "dataset_fingerprint", pointer),
        safe_mode=flag_at(fields, "safe_mode", pointer) or flag_at(fields, "downgraded", pointer),
        downgrade_reason=context_text(fields, "downgrade_reason", pointer),
    )


def context_text(fields: dict[str, Any], name: str, pointer: str) -> str | None:
    """Text of a bounded size, or nothing. The separator of ComputeKeys inside would let two contexts share a
    key: refused."""
    value = text_at(fields, name, pointer)
    if value is None:
        return None
    place = f"{pointer}/{name}"
    if SEPARATOR in value:
        raise field_error(
            place,
            f"{place}: the control character 0x1F is not allowed",
            "text without 0x1F",
            repr(value)[:80],
        )
    return bounded_text(value, place)
