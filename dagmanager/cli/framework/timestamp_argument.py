"""A timestamp that a person wrote: ISO-8601, or milliseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS_DIGITS: Final = 13  # from 2001 to 2286
FORMS: Final = "2026-11-23T12:00:00Z, 2026-11-23 (midnight, UTC), or 1795435200000 (epoch milliseconds)"


def parse_timestamp(text: str) -> int:
    """Milliseconds since the epoch; UTC where no zone is given. A usage error for anything else."""
    from dagmanager.terminal.report import usage
    from dagmanager.terminal.text import visible

    if text.isascii() and text.isdigit():
        if len(text) == _MS_DIGITS:
            return int(text)
        hint = (
            "these look like seconds: add 000"
            if len(text) == _MS_DIGITS - 3
            else f"milliseconds have {_MS_DIGITS} digits"
        )
        raise usage(f"`{visible(text)}` is not a timestamp in epoch milliseconds", hint, f"write {FORMS}")
    try:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise usage(f"`{visible(text)}` is not a timestamp", f"write {FORMS}") from None


def format_timestamp(at_ms: int) -> str:
    """ISO-8601 in UTC, to the millisecond; outside the years 1 to 9999, the number itself."""
    try:
        shown = (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"{at_ms} ms"
    return shown.replace("+00:00", "Z")
