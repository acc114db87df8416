"""Resolving compute contexts exactly as clients do: domains, safe mode, namespaces (docs/semantics.md 5)."""

from __future__ import annotations

import re
from typing import Any, Final

from dagmanager.dag.field_errors import field_error, wrong_value
from dagmanager.dag.model import ComputeContext, DagFields, Envelope, UnresolvedContext
from dagmanager.errors import Rejection

SAFE_DOMAIN: Final = "backtest"
DECISION_UNAVAILABLE: Final = "decision_unavailable"
MISSING_AS_OF: Final = "missing_as_of"
GATEWAY: Final = "gateway"  # safe mode was asked for without a reason
SAFE_MODE_REASONS: Final = (DECISION_UNAVAILABLE, MISSING_AS_OF, GATEWAY)
# Room for the topic's own name within the broker's 249 characters.
NAMESPACE_MAX: Final = 150

_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "backtest": (
        "backtest",
        "backtesting",
        "compute",
        "computeonly",
        "offline",
        "sandbox",
        "validate",
        "validation",
    ),
    "dryrun": (
        "dryrun",
        "dryrunmode",
        "papermode",
        "paper",
        "papertrade",
        "papertrading",
        "papertrader",
        "sim",
        "simulation",
        "simulated",
    ),
    "live": ("live", "prod", "production"),
    "shadow": ("shadow",),
}
KNOWN_DOMAINS: Final = tuple(_ALIASES)
_DOMAINS: Final = {alias: domain for domain, aliases in _ALIASES.items() for alias in aliases}
_IGNORED = re.compile(r"[\s_-]+")
_SEGMENT_ENDS = re.compile(r"[/:]")
_legal_topic_prefix = re.compile(r"[A-Za-z0-9._-]+", re.ASCII).fullmatch


def domain_of(raw: str) -> str:
    """The domain of any of its aliases. An unknown one stays as sent, trimmed."""
    # As clients do it (docs/contract.md, ComputeKey): `world/backtest` is backtest.
    for segment in _SEGMENT_ENDS.split(raw):
        known = _DOMAINS.get(_IGNORED.sub("", segment).lower())
        if known:
            return known
    return raw.strip()


def safe_domain(raw: str | None, as_of: str) -> tuple[str, str | None]:
    """The domain that a request gets, and why it was downgraded to safe mode (None if it was not)."""
    sent = (raw or "").strip()
    if not sent or sent.lower() == "default":
        return SAFE_DOMAIN, DECISION_UNAVAILABLE
    domain = domain_of(sent)
    if domain in ("backtest", "dryrun") and not as_of:
        return SAFE_DOMAIN, MISSING_AS_OF
    return domain, None


def segment(raw: Any) -> str:
    """One segment of a namespace, spelled as clients spell it; `''` if nothing is left."""
    if not isinstance(raw, str):
        return ""
    kept = (char.lower() if char.isalnum() else char if char in "-_" else "-" for char in raw.strip())
    return "".join(kept).strip("-_")


def world_namespace(world: str | None, domain: str | None) -> str | None:
    """`world.domain`; None unless both give a segment."""
    parts = segment(world), segment(domain)
    return ".".join(parts) if all(parts) else None


def namespace_text(raw: Any) -> str | None:
    """`meta.topic_namespace`, a text or `{world, domain}`, spelled as clients spell it; None if it is empty.

    Raises `FieldError` for any other type.
    """
    if raw is None:
        return None
    if isinstance(raw, dict):
        return world_namespace(
            raw.get("world") or raw.get("world_id"), raw.get("domain") or raw.get("execution_domain")
        )
    if not isinstance(raw, str):
        raise wrong_value("/meta/topic_namespace", "text or an object", raw)
    parts = [part for part in map(segment, raw.split(".")) if part]
    return ".".join(parts) or None


def resolve(
    world_id: str | None, execution_domain: str | None, as_of: str | None, partition: str | None
) -> ComputeContext:
    """Resolve four fields as sent, without a namespace (docs/contract.md, ComputeKey)."""
    when = (as_of or "").strip()
    domain, why = safe_domain(execution_domain, when)
    return ComputeContext((world_id or "").strip(), domain, when, (partition or "").strip(), safe_mode=why)


def resolve_context(
    envelope: Envelope, dag: DagFields, world: str, *, namespaces: bool
) -> ComputeContext | Rejection:
    """The context of one of the envelope's worlds; `namespaces` is the setting of that name.

    Each field comes from the request, else from the DAG. Exception: in a commit-log record with a context, that
    context is the Gateway's decision and complete. Refuses (`invalid_field`) a namespace that no topic name can have.
    """
    sent, own = envelope.context, dag.dag_context
    if envelope.form == "commit_log" and sent != UnresolvedContext():
        own = UnresolvedContext()
    resolved = resolve(
        world or sent.world_id or own.world_id,
        sent.execution_domain or own.execution_domain,
        sent.as_of or own.as_of,
        sent.partition or own.partition,
    )
    why = resolved.safe_mode
    if sent.safe_mode or own.safe_mode:
        why = (sent.downgrade_reason or own.downgrade_reason or "").strip() or why or GATEWAY
    namespace = _namespace(sent, dag, world) if namespaces else ""
    if isinstance(namespace, Rejection):
        return namespace
    return ComputeContext(
        resolved.world_id,
        resolved.execution_domain,
        resolved.as_of,
        resolved.partition,
        (sent.dataset_fingerprint or own.dataset_fingerprint or "").strip(),
        namespace,
        why,
    )


def _namespace(sent: UnresolvedContext, dag: DagFields, world: str) -> str | Rejection:
    """The topic prefix that the client will look for: clients take the values as sent, not as resolved."""
    if dag.meta_namespace:
        return _legal(dag.meta_namespace, "/meta/topic_namespace", dag.meta_namespace)
    if not world:
        return ""
    domain = dag.meta_domain or sent.execution_domain or "live"
    namespace = world_namespace(world, domain)
    if not namespace:
        return ""
    in_world = not _legal_topic_prefix(segment(world)) or _legal_topic_prefix(namespace)
    return _legal(namespace, "world_id" if in_world else "execution_domain", world if in_world else domain)


def _legal(namespace: str, field: str, sent: str) -> str | Rejection:
    if _legal_topic_prefix(namespace) and len(namespace) <= NAMESPACE_MAX:
        return namespace
    message = (
        f"{field} {sent[:80]!r} gives the topic prefix {namespace[:80]!r}, which no Kafka topic can carry: "
        f"at most {NAMESPACE_MAX} characters of A-Z a-z 0-9 . _ - are allowed"
    )
    return field_error(field, message, "a legal topic prefix", sent[:80]).rejection
