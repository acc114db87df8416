"""2,000 seeds; `make fuzz` runs a hundred thousand (`python -m tests.fuzz`)."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from dagmanager.dag.nodes.node_memo import NodeMemo
from tests.fuzz.judge import judge
from tests.fuzz.mutate import mutated


@pytest.mark.slow
def test_no_mutation_crashes_and_every_verdict_is_the_twins() -> None:
    cases = int(os.environ.get("QMTL_FUZZ_CASES", "2000"))
    memo = NodeMemo()
    verdicts = Counter(judge(seed, memo) for seed in range(cases))
    assert {"accepted", "invalid_json", "invalid_field", "node_id_mismatch", "missing_fields"} <= set(
        verdicts
    )


def test_a_fuzz_seed_is_a_submission() -> None:
    assert mutated(7) == mutated(7)
    assert mutated(7) != mutated(8)
