"""Mutation testing of the engine's pure rooms: one small change at a time, and a list of those that no test detects.

`python scripts/mutants.py [--minutes N] [PATTERN...]`, with patterns such as `dagmanager.engine.decide.rollout*`. What is
changed and which tests run is configured in pyproject.toml, [tool.mutmut]. mutmut works on copies in mutants/;
`.venv/bin/mutmut show NAME` prints a mutant of the list. The exit code is 0 whatever the score.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIES = ROOT / "mutants"
MUTMUT = Path(sys.executable).with_name("mutmut")
# Exit codes of pytest as mutmut stores them. All others (1: a test failed, 24 and others: timeout) count as killed.
STATES = {0: "survived", 5: "untested", 33: "untested", None: "untried"}


def run(patterns: list[str], minutes: float) -> None:
    """Test every mutant, with mutmut's own line of progress. Stops after `minutes`; the rest stays untried."""
    shutil.rmtree(COPIES, ignore_errors=True)  # mutmut removes no copy of a file that was deleted since
    command = [str(MUTMUT), "run", "--max-children", "2", *patterns]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as running:
        try:
            code = running.wait(minutes * 60)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(running.pid, signal.SIGTERM)  # its workers too: a mutant may be an endless loop
            print("\nstopped before the end")
            return
    if code:
        sys.exit(f"mutmut ended with {code}")


def main() -> None:
    """Run, then print a line per module and one per surviving mutant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    parser.add_argument("--minutes", type=float, default=20.0, help="when to stop (default 20)")
    given = parser.parse_args()
    run(given.patterns, given.minutes)
    whole, survivors = Counter[str](), list[str]()
    print(f"\n{'module':45} {'mutants':>8} {'killed':>8} {'survived':>9} {'untested':>9}")
    for path in sorted(COPIES.rglob("*.py.meta")):
        found = json.loads(path.read_text())["exit_code_by_key"]
        states = {name: STATES.get(code, "killed") for name, code in found.items()}
        counts = Counter(state for state in states.values() if state != "untried")
        if counts:
            module = path.relative_to(COPIES).as_posix().removesuffix(".py.meta")
            print(row(module, counts))
            whole += counts
            survivors += [name for name, state in states.items() if state in ("survived", "untested")]
    print(row("all", whole))
    print("".join(f"\n  {name}" for name in survivors))
    print(f"score: {whole['killed'] / max(whole.total(), 1):.1%} of {whole.total()} mutants were killed")


def row(module: str, counts: Counter[str]) -> str:
    """One line of the table."""
    columns = (counts.total(), counts["killed"], counts["survived"], counts["untested"])
    return f"{module:45} {columns[0]:8} {columns[1]:8} {columns[2]:9} {columns[3]:9}"


if __name__ == "__main__":
    main()
