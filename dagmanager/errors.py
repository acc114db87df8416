"""The error codes of refused submissions, and the exceptions of failing stores, brokers and settings.

A refused submission is a value (`Rejection`). An exception means that something around the flow failed: it is retried, or
stops the flow with the offset kept, so that nothing is lost (docs/semantics.md 10).

    Exception
    └── DagManagerError            is_retryable() says whether the same call may succeed later
        ├── SettingsError          the settings are invalid (exit 2, or a refused start)
        ├── UnavailableError       a store or broker is unreachable or overloaded; retryable (exit 4)
        │   └── StoreMemoryError   a store has no memory for a transaction, after several tries
        ├── StoreRefusedError      a store rejects this statement, and would each time
        ├── InputLostError         records that were still to be read are gone: an operator must decide
        ├── ConstraintError        another process holds a unique value; the transaction is retried as a whole
        └── ClaimLostError         another process took the claim over after its lease had ended
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from dagmanager.echo import ECHO_MAX, MESSAGE_MAX, echoed, echoed_detail, echoed_value


class ErrorCode(StrEnum):
    """Why a submission is refused: a closed set, the same for every interface (docs/semantics.md 10)."""

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
    EXPIRED = "expired"
    TOPIC_REFUSED = "topic_refused"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    QUARANTINED = "quarantined"


class NoticeCode(StrEnum):
    """The closed set of warnings of an accepted submission; each has a page of `explain-error`."""

    UNRESOLVED_DEPENDENCIES = "unresolved_dependencies"
    SAME_ID_DIFFERENT_TAGS = "same_id_different_tags"
    LINEAGE_UNKNOWN = "lineage_unknown"
    UNKEYED_RECORD = "unkeyed_record"
    UNKNOWN_DOMAIN = "unknown_domain"
    NAMESPACE_RESPELLED = "namespace_respelled"
    ONLY_VERSION = "only_version"
    ROLLED_BACK_CONTENT = "rolled_back_content"
    NODE_ATTRIBUTES_DIFFER = "node_attributes_differ"
    TOPIC_SETTINGS_DIFFER = "topic_settings_differ"
    OLDER_THAN_CURRENT = "older_than_current"
    SUPERSEDED_VERSION = "superseded_version"
    LABEL_REUSED = "label_reused"
    WEIGHT_CONTESTED = "weight_contested"


RETRYABLE: Final[frozenset[ErrorCode]] = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED})

# (gRPC status, HTTP status) of each code (docs/semantics.md 10).
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
    ErrorCode.EXPIRED: ("NOT_FOUND", 410),
    ErrorCode.TOPIC_REFUSED: ("FAILED_PRECONDITION", 422),
    ErrorCode.UNAVAILABLE: ("UNAVAILABLE", 503),
    ErrorCode.RATE_LIMITED: ("RESOURCE_EXHAUSTED", 429),
    ErrorCode.QUARANTINED: ("INTERNAL", 500),
}


class FaultCount(msgspec.Struct, frozen=True):
    """How many findings of one refusal have this code and concern this field of nodes of this type.

    For metrics, since `details` are bounded. `node_type` is shown as `dagmanager.echo` says; empty if it is not known.
    """

    code: ErrorCode
    field: str
    node_type: str
    number: int


class Rejection(msgspec.Struct, frozen=True):
    """Why a submission was refused: a value that passes through the flow as answers do.

    `field` is a dotted path or a JSON pointer into the submission. `details` has one entry per finding when there are
    several (at most 100; `message` has the total); `counts` are of all findings. Whatever comes from the submission is shown as `dagmanager.echo` says:
    bounded, without control characters, and such that every encoder takes it.
    """

    code: ErrorCode
    message: str
    field: str | None = None
    node_id: str | None = None
    expected: str | None = None
    got: str | None = None
    details: tuple[dict[str, Any], ...] = ()
    # No part of the answer, nor of its stored form and digest.
    counts: tuple[FaultCount, ...] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Bound every text and value; a value that is already bounded stays the same object."""
        for name in ("message", "field", "node_id", "expected", "got"):
            text = getattr(self, name)
            if (
                text is not None
                and (shown := echoed(text, MESSAGE_MAX if name == "message" else ECHO_MAX)) != text
            ):
                msgspec.structs.force_setattr(self, name, shown)
        if self.details:
            msgspec.structs.force_setattr(self, "details", tuple(map(echoed_detail, self.details)))

    def as_json(self) -> dict[str, Any]:
        """The wire format of docs/semantics.md 10: every key always present."""
        return {
            "code": self.code.value,
            "message": self.message,
            "field": self.field,
            "node_id": self.node_id,
            "expected": self.expected,
            "got": self.got,
            "details": list(self.details),
        }


def fault_counts(found: Iterable[tuple[ErrorCode, str, object]]) -> tuple[FaultCount, ...]:
    """Findings (code, field, the node's type as sent) by number, in the order of their first occurrence."""
    tally = Counter((code, field, str(echoed_value(node_type or ""))) for code, field, node_type in found)
    return tuple(FaultCount(*each, number) for each, number in tally.items())


class DagManagerError(Exception):
    """Base of all exceptions that this product raises intentionally."""

    def is_retryable(self) -> bool:
        """Whether the same call may succeed later, with nothing changed by an operator."""
        return False


class SettingsError(DagManagerError):
    """The settings are invalid, or a server contradicts them; the message names each field, one per line."""


class UnavailableError(DagManagerError):
    """A store or broker is unreachable or overloaded. Nothing was decided: the call may be repeated."""

    def is_retryable(self) -> bool:
        """Always true: the server may come back."""
        return True


class StoreRefusedError(DagManagerError):
    """A store rejects a statement, and would each time; other submissions may still succeed."""


class StoreMemoryError(UnavailableError):
    """A transaction does not fit into the memory that the store gives to one, after several tries with pauses.

    Smaller transactions may succeed: the claim of a whole submission is refused for it instead of waiting for ever. Any other
    work is tried again, as after an outage.
    """


class InputLostError(DagManagerError):
    """Records that were still to be read are gone, or their topic was deleted and created again.

    The flow stops instead of skipping them; the message says what was expected and what to do.
    """


class ConstraintError(DagManagerError):
    """Another process has written this unique value; `key` is the value (a folded topic name, a node id)."""

    def __init__(self, key: str) -> None:
        """`key` is the unique value."""
        super().__init__(f"already taken: {key}")
        self.key = key

    def is_retryable(self) -> bool:
        """Always true: a second try of the whole transaction sees the other process's row."""
        return True


class ClaimLostError(DagManagerError):
    """The claim's lease ended and another process took the claim over."""
