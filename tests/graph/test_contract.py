"""The contract of Graph on every implementation that `conftest` names."""

from __future__ import annotations

from tests.graph.contract import (
    AtomicityContract,
    ConstraintContract,
    IsolationContract,
    LockOrderContract,
    RivalsContract,
)
from tests.graph.contract_questions import (
    ClaimsContract,
    KnownContract,
    OutboxContract,
    ReferencesContract,
    TagsContract,
)


class TestAtomicity(AtomicityContract):
    pass


class TestIsolation(IsolationContract):
    pass


class TestConstraints(ConstraintContract):
    pass


class TestRivals(RivalsContract):
    pass


class TestLockOrder(LockOrderContract):
    pass


class TestKnown(KnownContract):
    pass


class TestReferences(ReferencesContract):
    pass


class TestTags(TagsContract):
    pass


class TestClaims(ClaimsContract):
    pass


class TestOutbox(OutboxContract):
    pass
