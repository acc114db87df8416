"""One mutated record through all pure steps, compared with the naive twin."""

from __future__ import annotations

from base64 import b64decode

import orjson

from dagmanager.dag.canonicalize import canonicalize
from dagmanager.dag.hashing import hash_dag
from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Foreign, Origin, Record, Submission
from dagmanager.dag.nodes.node_memo import NodeMemo
from dagmanager.dag.record.decode import decode
from dagmanager.dag.submission import submissions
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Refused as RefusedRecord
from dagmanager.engine.wire.chunks import MAX_BYTES
from dagmanager.engine.wire.refusals import HEADER_BYTES
from dagmanager.errors import Rejection
from operators.steps.messages import dead_letter_of, diff_messages_of
from sinks.dead_letters import dead_letter_line
from tests.dag import naive
from tests.dag.naive_json import Refused
from tests.engine.builders import Stores, engine
from tests.fuzz.mutate import mutated

LIMITS = Limits()


class _Flow:
    """Reader, engine and sinks of an embedded run, without Bytewax around them."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin with an empty graph: a long run would keep every mutant."""
        self.reader = Reader(ReadOptions())
        self.engine = engine(Stores())
        self.count = 0

    def pass_through(self, value: bytes) -> None:
        """All steps, and the bytes that both sinks would write. Raises what would stop a flow."""
        self.count += 1
        if self.count % 500 == 0:
            self.forget()
        record = Record(value, Origin("submissions", "topic", 0, self.count), b"s", self.count)
        for item in self.reader.read(record):
            done = [item] if isinstance(item, RefusedRecord) else self.engine.submit([item])
            for each in done:
                for message in diff_messages_of(each):
                    body = orjson.loads(message.value)
                    assert len(message.value) <= MAX_BYTES
                    assert printable(body.get("error"))
                    assert dict(message.headers)["submission-id"]
                for message in dead_letter_of(each):
                    assert len(dict(message.headers)["error"]) <= HEADER_BYTES
                    letter = orjson.loads(dead_letter_line(message))
                    assert b64decode(letter["value_base64"]) == value
                    assert printable(orjson.loads(letter["headers"]["error"]))


def printable(tree: object) -> bool:
    """Whether no text in a JSON value has a control character."""
    if isinstance(tree, dict):
        return all(map(printable, tree.values()))
    if isinstance(tree, list):
        return all(map(printable, tree))
    return not isinstance(tree, str) or tree.isprintable()


_FLOW = _Flow()


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
    _FLOW.pass_through(value)
    accepted = ours.startswith("accepted"), theirs.startswith("accepted")
    assert accepted[0] == accepted[1], f"seed {seed}: product {ours[:90]}, twin {theirs[:90]}"
    if accepted[0]:
        assert ours == theirs, f"seed {seed}: other ids"
    return ours.split(" ")[0]
