"""Limits a process to a share of a core, to show what several would do on a machine with more cores.

Uses control groups (cgroups), as containers do; needs the right to create them, usually root.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

GROUPS: Final = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
# Short compared with the time of an answer, so that a process is slowed down instead of stopped.
PERIOD_US: Final = 10_000


@contextmanager
def limited(pids: Sequence[int], cores: float) -> Iterator[bool]:
    """Limit each of these processes to this share of a core; False where the kernel does not permit it."""
    made: list[Path] = []
    try:
        yield all(_limit(pid, cores, made) for pid in pids)
    finally:
        for group in made:
            with suppress(OSError):
                _move_out(group)
                group.rmdir()


def _limit(pid: int, cores: float, made: list[Path]) -> bool:
    quota = max(round(PERIOD_US * cores), 1_000)
    for root in GROUPS:
        group = root / f"dagmanager-bench-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
            made.append(group)
            if (group / "cpu.max").exists():
                (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(quota))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            continue
        return True
    return False


def _move_out(group: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        (group.parent / "cgroup.procs").write_text(pid)
