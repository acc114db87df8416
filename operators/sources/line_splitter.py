"""Chunks of bytes → lines, in bounded memory: of a line that is too long only its beginning is kept."""

from __future__ import annotations


class LineSplitter:
    """Feed it chunks; a line longer than `longest` comes out cut to one byte more than that."""

    def __init__(self, longest: int) -> None:
        """Nothing read yet. `longest` in bytes."""
        self._room = longest + 1
        self._begun = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their ends."""
        *whole, rest = chunk.split(b"\n")
        lines: list[bytes] = []
        for piece in whole:
            self._take(piece)
            lines.append(bytes(self._begun))
            self._begun.clear()
        self._take(rest)
        return lines

    def rest(self) -> list[bytes]:
        """The text after the last line end, if there is any."""
        lines = [bytes(self._begun)] if self._begun else []
        self._begun.clear()
        return lines

    def _take(self, piece: bytes) -> None:
        self._begun += piece[: self._room - len(self._begun)]
