"""One mutated record through all pure steps, compared with the naive twin."""

from __future__ import annotations

from dagmanager.dag.canonicalize import canonicalize
from dagmanager.dag.hashing import hash_dag
from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Foreign, Origin, Record, Submission
from dagmanager.dag.nodes.node_memo import NodeMemo
from dagmanager.dag.record.decode import decode
from dagmanager.dag.submission import submissions
from dagmanager.errors import Rejection
from tests.dag import naive
from tests.dag.naive_json import Refused
from tests.fuzz.mutate import mutated

LIMITS = Limits()


def product(value: bytes, memo: NodeMemo) -> str:
    """`accepted <ids>`, `foreign` or the code of the rejection."""
    record = Record(value, Origin("submissions", "topic", 0, 1), b"s", 1)
    envelope = decode(record, LIMITS)
    if isinstance(envelope, Foreign):
        return "foreign"
    if isinstance(envelope, Rejection):
        return checked(envelope)
    dag = canonicalize(envelope, memo, LIMITS)
    if isinstance(dag, Rejection):
        return checked(dag)
    ids = " ".join(dag.submitted_ids)
    proven = hash_dag(dag, memo, envelope.node_ids_crc32)
    if isinstance(proven, Rejection):
        return checked(proven)
    found = submissions(envelope, proven, record, namespaces=True, dry_run_ids=frozenset())
    assert len(found) == len(envelope.worlds)
    assert all(isinstance(each, Submission | Rejection) for each in found)
    return f"accepted {ids}"


def checked(rejection: Rejection) -> str:
    assert rejection.message
    assert rejection.as_json()["code"] == rejection.code.value
    return rejection.code.value


def twin(value: bytes) -> str:
    try:
        return f"accepted {' '.join(naive.pure_steps(value))}"
    except naive.Foreign:
        return "foreign"
    except Refused as refused:
        return refused.code


def judge(seed: int, memo: NodeMemo) -> str:
    """The verdict on one seed; `AssertionError` if product and twin differ."""
    value = mutated(seed)
    ours, theirs = product(value, memo), twin(value)
    accepted = ours.startswith("accepted"), theirs.startswith("accepted")
    assert accepted[0] == accepted[1], f"seed {seed}: product {ours[:90]}, twin {theirs[:90]}"
    if accepted[0]:
        assert ours == theirs, f"seed {seed}: other ids"
    return ours.split(" ")[0]
