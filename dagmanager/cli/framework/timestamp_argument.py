"""A moment that a person wrote: ISO-8601, or milliseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS_DIGITS: Final = 13  # from 2001 to 2286
FORMS: Final = (
    "2026-11-23T12:00:00Z, 2026-11-23 (its first moment, UTC), or 1795435200000 (epoch milliseconds)"
)


def parse_moment(text: str) -> int:
    """Milliseconds since the epoch; UTC where no zone is given. A usage error for anything else."""
    from dagmanager.cli.framework.error_report import usage
    from dagmanager.cli.framework.output import visible

    if text.isascii() and text.isdigit():
        if len(text) == _MS_DIGITS:
            return int(text)
        hint = "seconds? add 000" if len(text) == _MS_DIGITS - 3 else f"they have {_MS_DIGITS} digits"
        raise usage(f"`{visible(text)}` is no moment in epoch milliseconds", hint, f"write {FORMS}")
    try:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise usage(f"`{visible(text)}` is no moment", f"write {FORMS}") from None


def show_moment(at_ms: int) -> str:
    """In UTC, to the millisecond; beyond what calendars hold, the number itself."""
    try:
        shown = (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"{at_ms} ms"
    return shown.replace("+00:00", "Z")
