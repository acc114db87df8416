from __future__ import annotations

import msgspec
import pytest

from dagmanager.engine.decide.node_conflicts import _SPEC, has_other_spec
from dagmanager.engine.model.rows import NodeRow
from tests.engine.builders import Stores, engine, node, submission


@pytest.mark.parametrize("field", _SPEC)
def test_every_field_of_the_id_makes_another_spec(field: str) -> None:
    stores = Stores()
    one = submission([node("price")])
    engine(stores).submit([one])
    (row,) = stores.rows(NodeRow)
    (sent,) = one.dag.nodes
    assert not has_other_spec(sent, row)
    assert has_other_spec(sent, msgspec.structs.replace(row, **{field: "another"}))
