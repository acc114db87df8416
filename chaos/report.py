"""What rounds came to: kept one by one as they end, added up, and shown as text or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.findings import Fault, Finding
from chaos.points import NAMED_IN_ISSUE, POINTS, RANDOM
from dagmanager.disk.replace_file import replace_file

KEPT_IN: Final = Path("build/chaos")


class Round(msgspec.Struct, frozen=True):
    """One site from its first record to its audit. `plan` tells how it was run: another plan is another round."""

    number: int
    plan: str
    kills: dict[str, int]
    met: dict[str, int]
    endings: dict[int, int]
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    raged_s: float
    judged_s: float


class Kept:
    """Rounds of one seed, a file each; a campaign that was stopped resumes after the last."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Nothing is read or made yet."""
        self.folder = folder / str(seed)

    def keep(self, done: Round) -> None:
        """In one piece."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(done), indent=1)
        replace_file(self.folder / f"{done.number}.json", text, durable=False)

    def rounds(self, plans: Mapping[int, str]) -> list[Round]:
        """Those that were run as planned, by number."""
        found = [
            msgspec.json.decode(path.read_bytes(), type=Round) for path in sorted(self.folder.glob("*.json"))
        ]
        return sorted((each for each in found if plans.get(each.number) == each.plan), key=_number)

    def forget(self) -> None:
        """All of this seed."""
        for path in self.folder.glob("*.json"):
            path.unlink()


@dataclass(frozen=True)
class Summary:
    """Rounds of one seed added up."""

    seed: int
    rounds: Sequence[Round]

    @property
    def kills(self) -> Counter[str]:
        """By place."""
        return _sum(each.kills for each in self.rounds)

    @property
    def findings(self) -> list[Finding]:
        """Of all rounds."""
        return [finding for each in self.rounds for finding in each.findings]

    def text(self) -> str:
        """Kills by point, what else happened, and the auditor's table."""
        kills, met = self.kills, _sum(each.met for each in self.rounds)
        endings = _sum({str(code): n for code, n in each.endings.items()} for each in self.rounds)
        lines = [f"seed {self.seed}: {kills.total()} kills in {len(self.rounds)} rounds", ""]
        lines += [f"{'kills':>8}  {'point':16} where"]
        for name, count, places in by_group(kills):
            where = ", ".join(f"{place} {number}" for place, number in places.items())
            lines.append(f"{count:8}  {name:16} {where}".rstrip())
        lines += ["", f"{met.total():8}  faults of servers and network"]
        lines += [f"{count:8}    {name}" for name, count in sorted(met.items())]
        lines += [f"{endings.total():8}  processes that left by themselves (exit 4: a server was away)"]
        lines += [f"{count:8}    with exit {code}" for code, count in sorted(endings.items())]
        return "\n".join([*lines, audit_text(_sum(each.counts for each in self.rounds), self.findings)])

    def as_json(self) -> dict[str, Any]:
        """The same, as plain data."""
        faults = Counter(each.fault for each in self.findings)
        return {
            "seed": self.seed,
            "rounds": len(self.rounds),
            "kills": self.kills.total(),
            "points": [
                {"point": name, "in_issue": name in NAMED_IN_ISSUE, "kills": count, "places": places}
                for name, count, places in by_group(self.kills)
            ],
            "server_faults": dict(sorted(_sum(each.met for each in self.rounds).items())),
            "counts": {name.strip(): n for name, n in _sum(each.counts for each in self.rounds).items()},
            "faults": {fault.value: faults[fault] for fault in Fault},
            "findings": [{"fault": each.fault.value, "where": each.where} for each in self.findings],
            "passed": not self.findings,
        }


def audit_text(counts: Mapping[str, int], findings: Iterable[Finding]) -> str:
    """One line per count, then one per fault, found or not."""
    faults = Counter(each.fault for each in findings)
    lines = [f"{count:8}  {what}" for what, count in counts.items()]
    return "\n".join(["", *lines, "", *(f"{faults[fault]:8}  {fault.value}" for fault in Fault)])


def by_group(kills: Mapping[str, int]) -> Iterable[tuple[str, int, dict[str, int]]]:
    """Kills at each named point, with the places that belong to it."""
    for name, places in POINTS.items():
        found = {place: kills.get(place, 0) for place in places}
        yield name, sum(found.values()), found
    yield RANDOM, kills.get(RANDOM, 0), {}


def _sum(parts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """In the order in which names first come."""
    total: Counter[str] = Counter()
    for each in parts:
        total.update(each)
    return total


def _number(each: Round) -> int:
    return each.number
