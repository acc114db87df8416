"""How values of a submission are shown in errors and warnings (docs/semantics.md 10): bounded, printable, encodable."""

from __future__ import annotations

import math
from typing import Any, Final

# Characters of one echoed text. The longest text that is not a fault, a node id after a collision, has 135.
ECHO_MAX: Final = 1_000
# Characters of a message, which may list the 100 ids of a cycle.
MESSAGE_MAX: Final = 16_000
_INT64: Final = range(-(2**63), 2**63)


def echoed(text: str, longest: int = ECHO_MAX) -> str:
    """The text with at most `longest` characters, and escapes instead of control characters and lone surrogates.

    The same object when nothing is to change. A text that was cut ends with `…`. Never raises.
    """
    if len(text) <= longest and text.isprintable():
        return text
    # One more than is kept: an escape that is cut in the middle is visible as cut.
    shown = printable(text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def printable(text: str) -> str:
    """The text with escapes instead of control characters and lone surrogates. The same object when it has none."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def echoed_value(value: object) -> Any:
    """A JSON scalar as it is (texts as `echoed`), or the type of anything that an encoder may refuse. Never raises."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return echoed(value)
    if isinstance(value, int):
        return value if value in _INT64 else "an integer of more than 64 bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return (
        "an object"
        if isinstance(value, dict)
        else "a list"
        if isinstance(value, list)
        else "a very long integer"
    )


def echoed_detail(detail: dict[str, Any]) -> dict[str, Any]:
    """One entry of `details`, each value as `echoed_value`."""
    return {name: echoed_value(value) for name, value in detail.items()}


def _escape(char: str) -> str:
    return ascii(char)[1:-1]
