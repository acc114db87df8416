"""Reading compute context fields, wherever a submission has them."""

from __future__ import annotations

from typing import Any

from dagmanager.dag.field_errors import bounded_text, field_error, flag_at, text_at
from dagmanager.dag.model import UnresolvedContext
from dagmanager.dag.record.compute_key import SEPARATOR


def read_context(fields: dict[str, Any], pointer: str) -> UnresolvedContext:
    """The context fields of an object at `pointer`. `downgraded` is another name of `safe_mode`.

    Raises `FieldError` for a field of the wrong type.
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


def context_text(fields: dict[str, Any], name: str, parent: str) -> str | None:
    """A text of bounded size, or None. Raises `FieldError` for another type, and for a text with `SEPARATOR`."""
    value = text_at(fields, name, parent)
    if value is None:
        return None
    pointer = f"{parent}/{name}"
    # The separator of compute keys: with it, two different contexts could have one key.
    if SEPARATOR in value:
        raise field_error(
            pointer,
            f"{pointer}: the control character 0x1F is not allowed",
            "text without 0x1F",
            repr(value)[:80],
        )
    return bounded_text(value, pointer)
