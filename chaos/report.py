"""Results of rounds: stored one by one as they end, added up, and shown as text or JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.findings import AuditFinding, Violation
from chaos.points import POINTS, RANDOM, REQUIRED_POINTS
from dagmanager.disk.replace_file import replace_file

REPORTS: Final = Path("build/chaos")


class Round(msgspec.Struct, frozen=True):
    """The result of one site, from its first record to its audit. A round of another `plan` is run again."""

    number: int
    plan: str
    kills: dict[str, int]
    injected: dict[str, int] = msgspec.field(name="met")
    endings: dict[int, int]
    counts: dict[str, int]
    findings: tuple[AuditFinding, ...]
    killing_s: float = msgspec.field(name="raged_s")  # names in stored reports
    audit_s: float = msgspec.field(name="judged_s")


class RoundStore:
    """The finished rounds of one seed, one file each, so that a stopped campaign can continue."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Reads and creates nothing yet."""
        self.folder = folder / str(seed)

    def save(self, done: Round) -> None:
        """Write the file of a round atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(done), indent=1)
        replace_file(self.folder / f"{done.number}.json", text, durable=False)

    def rounds(self, plans: Mapping[int, str]) -> list[Round]:
        """The rounds that were run with these plans, by number."""
        found = [
            msgspec.json.decode(path.read_bytes(), type=Round) for path in sorted(self.folder.glob("*.json"))
        ]
        return sorted((each for each in found if plans.get(each.number) == each.plan), key=_number)

    def delete(self) -> None:
        """Delete all rounds of this seed."""
        for path in self.folder.glob("*.json"):
            path.unlink()


@dataclass(frozen=True)
class Summary:
    """Rounds of one seed added up."""

    seed: int
    rounds: Sequence[Round]

    @property
    def kills(self) -> Counter[str]:
        """By point."""
        return _sum(each.kills for each in self.rounds)

    @property
    def findings(self) -> list[AuditFinding]:
        """All findings of all rounds."""
        return [finding for each in self.rounds for finding in each.findings]

    def text(self) -> str:
        """Kills by point, injected faults, exit codes, and the auditor's table."""
        kills, injected = self.kills, _sum(each.injected for each in self.rounds)
        endings = _sum({str(code): n for code, n in each.endings.items()} for each in self.rounds)
        lines = [f"seed {self.seed}: {kills.total()} kills in {len(self.rounds)} rounds", ""]
        lines += [f"{'kills':>8}  {'point':16} where"]
        for name, count, places in by_group(kills):
            where = ", ".join(f"{place} {number}" for place, number in places.items())
            lines.append(f"{count:8}  {name:16} {where}".rstrip())
        lines += ["", f"{injected.total():8}  faults of servers and network"]
        lines += [f"{count:8}    {name}" for name, count in sorted(injected.items())]
        lines += [f"{endings.total():8}  processes that exited by themselves (4: a server was unreachable)"]
        lines += [f"{count:8}    with exit {code}" for code, count in sorted(endings.items())]
        return "\n".join([*lines, audit_text(_sum(each.counts for each in self.rounds), self.findings)])

    def as_json(self) -> dict[str, Any]:
        """The same, as plain data."""
        faults = Counter(each.violation for each in self.findings)
        return {
            "seed": self.seed,
            "rounds": len(self.rounds),
            "kills": self.kills.total(),
            "points": [
                {"point": name, "in_issue": name in REQUIRED_POINTS, "kills": count, "places": places}
                for name, count, places in by_group(self.kills)
            ],
            "server_faults": dict(sorted(_sum(each.injected for each in self.rounds).items())),
            "counts": {name.strip(): n for name, n in _sum(each.counts for each in self.rounds).items()},
            "faults": {violation.value: faults[violation] for violation in Violation},
            "findings": [{"fault": each.violation.value, "where": each.where} for each in self.findings],
            "passed": not self.findings,
        }


def audit_text(counts: Mapping[str, int], findings: Iterable[AuditFinding]) -> str:
    """One line per count, then one per violation, found or not."""
    faults = Counter(each.violation for each in findings)
    lines = [f"{count:8}  {what}" for what, count in counts.items()]
    return "\n".join(
        ["", *lines, "", *(f"{faults[violation]:8}  {violation.value}" for violation in Violation)]
    )


def by_group(kills: Mapping[str, int]) -> Iterable[tuple[str, int, dict[str, int]]]:
    """Kills of each group of points, and of the points in it."""
    for name, places in POINTS.items():
        found = {place: kills.get(place, 0) for place in places}
        yield name, sum(found.values()), found
    yield RANDOM, kills.get(RANDOM, 0), {}


def _sum(parts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Adds up; names keep the order of their first occurrence."""
    total: Counter[str] = Counter()
    for each in parts:
        total.update(each)
    return total


def _number(each: Round) -> int:
    return each.number
