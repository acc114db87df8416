"""Whether a word is a misspelling of a known one, by the number of edits between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# `kafka_dns` for `kafka_dsn` is one swap, `kafkadns` two edits. More edits are a guess, which may only be a hint.
MISSPELT_WITHIN: Final = 2


def misspelt(word: str, known: Iterable[str]) -> str | None:
    """The known word that is nearest within two edits; None without one, or when the word itself is known.

    An edit inserts, removes or replaces a character, or swaps two neighbours.
    """
    distances = ((edits(word, each), each) for each in known if abs(len(word) - len(each)) <= MISSPELT_WITHIN)
    distance, nearest = min(distances, default=(0, ""))
    return nearest if 0 < distance <= MISSPELT_WITHIN else None


def edits(one: str, other: str) -> int:
    """The smallest number of edits that turns one word into the other (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        two_before, before, row = before, row, [i]
        for j, right in enumerate(other, 1):
            least = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                least = min(least, two_before[j - 2] + 1)
            row.append(least)
    return row[-1]
