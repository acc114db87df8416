"""Chunks of bytes → lines, in bounded memory: of a line that is too long only its beginning is kept."""

from __future__ import annotations

from typing import NamedTuple

from blake3 import blake3

from dagmanager.dag.model import WholeValue


class Line(NamedTuple):
    """A line without its end. `whole` is set if the text is only its beginning."""

    text: bytes
    whole: WholeValue | None = None


class WholeLine:
    """Digest and length of a line that is read in pieces. Carriage returns at its end do not count, as in a short line."""

    def __init__(self, begun: bytes | bytearray) -> None:
        """A line that begins with these bytes."""
        self._digest = blake3()
        self._length = self._returns = 0
        self.feed(begun)

    def feed(self, piece: bytes | bytearray) -> None:
        """The next piece of the line, without a line end."""
        text = piece.rstrip(b"\r")
        if text:
            self._digest.update(b"\r" * self._returns + text)
            self._length += self._returns + len(text)
            self._returns = 0
        self._returns += len(piece) - len(text)

    def found(self) -> WholeValue:
        """Digest and length of all pieces."""
        return WholeValue("blake3:" + self._digest.hexdigest(), self._length)


class LineSplitter:
    """Feed it chunks; a line longer than `longest` comes out cut to one byte more than that."""

    def __init__(self, longest: int) -> None:
        """Nothing read yet. `longest` in bytes."""
        self._room = longest + 1
        self._begun = bytearray()
        self._whole: WholeLine | None = None

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that this chunk completes."""
        *whole, rest = chunk.split(b"\n")
        lines: list[Line] = []
        for piece in whole:
            self._take(piece)
            lines.append(self._taken())
        self._take(rest)
        return lines

    def rest(self) -> list[Line]:
        """The text after the last line end, if there is any."""
        return [self._taken()] if self._begun else []

    def _take(self, piece: bytes) -> None:
        free = self._room - len(self._begun)
        if self._whole is None and len(piece) > free:
            self._whole = WholeLine(self._begun)
        if self._whole is not None:
            self._whole.feed(piece)
        self._begun += piece[:free]

    def _taken(self) -> Line:
        line = Line(bytes(self._begun), self._whole.found() if self._whole else None)
        self._begun.clear()
        self._whole = None
        return line
