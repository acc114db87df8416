"""Every error this product can answer with, and the exceptions that mean the world failed.

A bad submission is a value (`Rejection`); an exception means that a store or a broker failed and is
retried, or stops the flow without losing the offset (docs/semantics.md 10).

    Exception
    └── DagManagerError            is_retryable() answers for itself
        ├── SettingsError          the configuration does not hold (exit 2 / refused start)
        ├── UnavailableError       a store or broker is away; retryable (exit 4)
        ├── StoreRefusedError      a store will not have this statement, however often it is asked
        ├── InputLostError         what was still to be read is gone: a person must decide
        ├── ConstraintError        a unique row is taken by a rival; the transaction is retried whole
        └── ClaimLostError         the claim is no longer ours: another process took it over
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec


class ErrorCode(StrEnum):
    """The closed set of refusals, shared by every door (docs/semantics.md 10)."""

    INVALID_JSON = "invalid_json"
    TOO_LARGE = "too_large"
    INVALID_FIELD = "invalid_field"
    MISSING_FIELDS = "missing_fields"
    NODE_ID_MISMATCH = "node_id_mismatch"
    CONFLICTING_NODE = "conflicting_node"
    DEPENDENCY_CYCLE = "dependency_cycle"
    UNRESOLVED_DEPENDENCIES = "unresolved_dependencies"
    CRC_MISMATCH = "crc_mismatch"
    SCHEMA_ID_CONFLICT = "schema_id_conflict"
    CROSS_CONTEXT = "cross_context"
    TOO_MANY_VERSIONS = "too_many_versions"
    LATE = "late"
    EXPIRED = "expired"
    TOPIC_REFUSED = "topic_refused"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    QUARANTINED = "quarantined"


RETRYABLE: Final[frozenset[ErrorCode]] = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED})

# One gRPC status and one HTTP status per code, whatever the door (docs/semantics.md 10).
STATUS: Final[dict[ErrorCode, tuple[str, int]]] = {
    ErrorCode.INVALID_JSON: ("INVALID_ARGUMENT", 400),
    ErrorCode.TOO_LARGE: ("RESOURCE_EXHAUSTED", 413),
    ErrorCode.INVALID_FIELD: ("INVALID_ARGUMENT", 400),
    ErrorCode.MISSING_FIELDS: ("INVALID_ARGUMENT", 400),
    ErrorCode.NODE_ID_MISMATCH: ("INVALID_ARGUMENT", 400),
    ErrorCode.CONFLICTING_NODE: ("INVALID_ARGUMENT", 400),
    ErrorCode.DEPENDENCY_CYCLE: ("INVALID_ARGUMENT", 400),
    ErrorCode.UNRESOLVED_DEPENDENCIES: ("FAILED_PRECONDITION", 422),
    ErrorCode.CRC_MISMATCH: ("INVALID_ARGUMENT", 400),
    ErrorCode.SCHEMA_ID_CONFLICT: ("INVALID_ARGUMENT", 400),
    ErrorCode.CROSS_CONTEXT: ("FAILED_PRECONDITION", 409),
    ErrorCode.TOO_MANY_VERSIONS: ("FAILED_PRECONDITION", 409),
    ErrorCode.LATE: ("ABORTED", 409),
    ErrorCode.EXPIRED: ("NOT_FOUND", 410),
    ErrorCode.TOPIC_REFUSED: ("FAILED_PRECONDITION", 422),
    ErrorCode.UNAVAILABLE: ("UNAVAILABLE", 503),
    ErrorCode.RATE_LIMITED: ("RESOURCE_EXHAUSTED", 429),
    ErrorCode.QUARANTINED: ("INTERNAL", 500),
}


class Rejection(msgspec.Struct, frozen=True):
    """Why a submission was refused: a value that travels through the flow like any other.

    `field` is a dotted path or JSON pointer into what was submitted; `details` holds one entry per
    further finding (at most 100; the count is in `message`).
    """

    code: ErrorCode
    message: str
    field: str | None = None
    node_id: str | None = None
    expected: str | None = None
    got: str | None = None
    details: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The wire form of docs/semantics.md 10: every key always present."""
        return {
            "code": self.code.value,
            "message": self.message,
            "field": self.field,
            "node_id": self.node_id,
            "expected": self.expected,
            "got": self.got,
            "details": list(self.details),
        }


class DagManagerError(Exception):
    """Root of everything this product raises on purpose."""

    def is_retryable(self) -> bool:
        """Whether the same call may succeed later without a change."""
        return False


class SettingsError(DagManagerError):
    """The configuration does not hold; the message names each field."""


class UnavailableError(DagManagerError):
    """A store or a broker is away; nothing was decided."""

    def is_retryable(self) -> bool:
        """Always: the world may come back."""
        return True


class StoreRefusedError(DagManagerError):
    """A store will not have what it was told, however often; other submissions may be fine."""


class InputLostError(DagManagerError):
    """Records that were still to be read are gone, or their topic is another one now.

    Never skipped over: the message says what was expected and what to do.
    """


class ConstraintError(DagManagerError):
    """A unique value is taken; `key` says which (a folded topic name, a node id)."""

    def __init__(self, key: str) -> None:
        """Remember the key in conflict."""
        super().__init__(f"already taken: {key}")
        self.key = key

    def is_retryable(self) -> bool:
        """The whole transaction is run again: it will see the rival's row."""
        return True


class ClaimLostError(DagManagerError):
    """The claim's lease ran out and another process took it over."""
