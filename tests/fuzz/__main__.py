"""`python -m tests.fuzz --count N --seed S`: N mutated submissions, each judged against the naive twin."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter

from dagmanager.dag.nodes.node_memo import NodeMemo
from tests.fuzz.judge import judge


def main() -> int:
    """Exit status 1 when any seed failed; each is printed with how to run it alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    memo, verdicts, failed = NodeMemo(), Counter[str](), 0
    began = time.monotonic()
    for done, seed in enumerate(range(chosen.seed, chosen.seed + chosen.count), start=1):
        try:
            verdicts[judge(seed, memo)] += 1
        except Exception as error:  # noqa: BLE001 - any escape is the finding
            failed += 1
            if failed <= 20:
                print(f"python -m tests.fuzz --count 1 --seed {seed}: {error!r}")
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
        if done % 10_000 == 0 or done == chosen.count:
            rate = done / (time.monotonic() - began)
            print(f"{done} done, {failed} failed, {rate:.0f}/s", file=sys.stderr)
    for verdict, count in verdicts.most_common():
        print(f"{count:8} {verdict}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
