from __future__ import annotations

import pytest

from dagmanager.dag.record.bare_dag import keyed, strategy_key, wrapped

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
    assert wrapped(raw, "x") == raw
    assert strategy_key(raw) == key
    assert keyed(raw, "x") == (key, raw)


def test_a_bare_dag_becomes_a_submission() -> None:
    assert wrapped(DAG, "x") == b'{"strategy_id":"x","dag":{"nodes": []}}'
    assert wrapped(DAG, "x", {"world_id": "w"}) == b'{"strategy_id":"x","world_id":"w","dag":{"nodes": []}}'
    assert keyed(DAG, "x") == ("x", wrapped(DAG, "x"))
    assert keyed(b'{"strategy_id":null,"nodes":[]}', "x")[0] == "x"
    assert keyed(b'{"nodes":null}', "x") == ("x", b'{"strategy_id":"x","dag":{"nodes":null}}')
