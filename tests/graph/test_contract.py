"""The contract of Graph on every implementation that `conftest` names."""

from __future__ import annotations

import pytest

from tests.graph.contract import AtomicityContract, IsolationContract, SnapshotContract
from tests.graph.contract_add_holder import AddHolderContract, EpochReadingContract
from tests.graph.contract_claims import ClaimsContract, OutboxContract
from tests.graph.contract_locks import LockOrderContract
from tests.graph.contract_questions import KnownContract, ReferencesContract
from tests.graph.contract_reachable import ReachableContract
from tests.graph.contract_rivals import ConstraintContract, RivalsContract
from tests.graph.contract_tags import TagsContract

embedded = pytest.mark.parametrize("handles", ["memory", "sqlite"], indirect=True)


class TestAtomicity(AtomicityContract):
    pass


class TestIsolation(IsolationContract):
    pass


@embedded
class TestSnapshot(SnapshotContract):
    pass


class TestConstraints(ConstraintContract):
    pass


class TestRivals(RivalsContract):
    pass


class TestLockOrder(LockOrderContract):
    pass


class TestKnown(KnownContract):
    pass


class TestEpochReading(EpochReadingContract):
    pass


class TestAddHolder(AddHolderContract):
    pass


class TestReferences(ReferencesContract):
    pass


class TestReachable(ReachableContract):
    pass


class TestTags(TagsContract):
    pass


class TestClaims(ClaimsContract):
    pass


class TestOutbox(OutboxContract):
    pass
