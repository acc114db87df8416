"""Which partitions one process reads, when several single-worker flows share a topic."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from dagmanager.errors import SettingsError

_RANGES: Final = re.compile(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*")
_OF: Final = re.compile(r"(\d{1,6})/(\d{1,6})")


class PartitionShare(msgspec.Struct, frozen=True):
    """`''` is all, `0-3,6` these, `0/2` every second one beginning with 0.

    Processes that share a topic need shares that do not overlap, and a recovery folder each.
    """

    text: str = ""

    def of(self, partitions: int, topic: str) -> list[int]:
        """The numbers, ascending; `SettingsError` when the text, or a number in it, is invalid."""
        text = self.text.replace(" ", "")
        if not text:
            return list(range(partitions))
        if problem := share_problem(text):
            raise SettingsError(f"submissions_partitions: {problem}")
        if part := _OF.fullmatch(text):
            return list(range(int(part[1]), partitions, int(part[2])))
        chosen: set[int] = set()
        for each in text.split(","):
            first, _, last = each.partition("-")
            chosen.update(range(int(first), int(last or first) + 1))
        if max(chosen) >= partitions:
            msg = f"submissions_partitions: {self.text} is not in topic {topic}, which has {partitions} partitions"
            raise SettingsError(msg)
        return sorted(chosen)


def share_problem(share: str) -> str:
    """What is wrong with the text itself, whatever the topic; empty for a valid one."""
    text = share.replace(" ", "")
    if part := _OF.fullmatch(text):
        index, count = int(part[1]), int(part[2])
        return (
            "" if index < count else f"{text} is not a share of {count}: the first number is 0 to {count - 1}"
        )
    if not _RANGES.fullmatch(text):
        return f"{share!r} is neither like `0-3,6` nor like `0/2`"
    for each in text.split(","):
        first, _, last = each.partition("-")
        if last and int(last) < int(first):
            return f"{each} runs backwards: the smaller number comes first"
    return ""
