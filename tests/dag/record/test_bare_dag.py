from __future__ import annotations

import pytest

from dagmanager.dag.record.bare_dag import as_submission, keyed_submission, strategy_key

DAG = b' {"nodes": []}\n'


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'{"strategy_id":"a","dag":{}}', "a"),
        (b'{"strategy_id":"a","dag_json":"e30="}', "a"),
        (b' ["gateway.ingest",1,"b",{}]', "b"),
        (b'["gateway.ingest",1]', ""),
        (b'["gateway.ingest",1,2,{}]', ""),
        (b'{"strategy_id":1}', ""),
        (b'{"strategy_id":"\\ud800"}', ""),
        (b'{"strategy_id":' + b"[" * 100_000, ""),
        (b"[" * 100_000, ""),
        (b'{"strategy_id":"\xff"}', ""),
        (b"{", ""),
        (b"", ""),
    ],
)
def test_a_submission_stays_as_it_is_and_names_its_strategy(raw: bytes, key: str) -> None:
    assert as_submission(raw, "x") == raw
    assert strategy_key(raw) == key
    assert keyed_submission(raw, "x") == (key, raw)


def test_a_bare_dag_becomes_a_submission() -> None:
    assert as_submission(DAG, "x") == b'{"strategy_id":"x","dag":{"nodes": []}}'
    assert keyed_submission(DAG, "x") == ("x", as_submission(DAG, "x"))
    assert keyed_submission(b'{"strategy_id":null,"nodes":[]}', "x")[0] == "x"
    assert keyed_submission(b'{"nodes":null}', "x") == ("x", b'{"strategy_id":"x","dag":{"nodes":null}}')
