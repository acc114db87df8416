"""One submission per world: context resolved, compute keys of nodes checked, ids computed."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from dagmanager.dag.field_errors import DETAILS_MAX
from dagmanager.dag.model import ComputeContext, Dag, Envelope, Node, Notice, Record, Submission
from dagmanager.dag.nodes.content import submission_digest, submission_id
from dagmanager.dag.record.compute_key import compute_key
from dagmanager.dag.record.context import KNOWN_DOMAINS, resolve_context
from dagmanager.errors import ErrorCode, NoticeCode, Rejection

# Upper case and dots change in a topic name, too, but few worlds differ in those alone.
_OTHER_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)


def submissions(
    envelope: Envelope,
    dag: Dag,
    record: Record,
    *,
    namespaces: bool,
    dry_run_ids: frozenset[str],
) -> tuple[Submission | Rejection, ...]:
    """One submission or rejection per world, in the order of the request: an invalid world affects no other.

    `record` is the one that was read; `namespaces` the setting of that name. A node with a `compute_key` that fits none of
    the worlds refuses the whole record (`cross_context`, docs/semantics.md 5).
    """
    contexts = [resolve_context(envelope, dag, world, namespaces=namespaces) for world in envelope.worlds]
    usable = [context for context in contexts if isinstance(context, ComputeContext)]
    crossed = _cross_context(dag.nodes, usable) if usable else None
    if crossed:
        return (crossed,) * len(contexts)
    found = (
        context
        if isinstance(context, Rejection)
        else _submission(envelope, dag, context, record, envelope.strategy_id in dry_run_ids)
        for context in contexts
    )
    return tuple(_noted_without_namespace(each) if namespaces else each for each in found)


def _submission(
    envelope: Envelope, dag: Dag, context: ComputeContext, record: Record, dry_run: bool
) -> Submission:
    strategy_id = envelope.strategy_id
    digest = submission_digest(dag.content_digest, strategy_id, dag.version, dag.weight, context)
    return Submission(
        strategy_id=strategy_id,
        dag=dag,
        context=context,
        submission_digest=digest,
        submission_id=submission_id(digest, record.origin),
        at_ms=record.timestamp_ms,
        record=record,
        dry_run=dry_run,
        warnings=(
            *envelope.warnings,
            *dag.warnings,
            *_unknown_domain(context),
            *_changed_spelling(context, dag.meta_namespace),
        ),
    )


def _unknown_domain(context: ComputeContext) -> tuple[Notice, ...]:
    """A warning about an unknown domain: it is used as sent, but if it is misspelled it may get topics of its own."""
    domain = context.execution_domain
    if domain in KNOWN_DOMAINS:
        return ()
    topics = (
        "with its own topics"
        if context.namespace
        else "and without a world it shares the topics of all domains"
    )
    message = f"{domain[:80]!r} is not one of {', '.join(KNOWN_DOMAINS)}: it is used as written, {topics}"
    return (Notice(NoticeCode.UNKNOWN_DOMAIN, message),)


def _changed_spelling(context: ComputeContext, meta_namespace: str | None) -> tuple[Notice, ...]:
    """A warning about a world whose spelling in topic names may be that of other worlds as well."""
    world = context.world_id
    if not context.namespace or meta_namespace or not _OTHER_CHARACTERS.search(world):
        return ()
    message = (
        f"world {world[:80]!r} is spelled {context.namespace[:80]!r} in topic names, as any world would be "
        "that differs only in characters other than letters, digits, - and _: they share their topics"
    )
    return (Notice(NoticeCode.NAMESPACE_RESPELLED, message),)


def _noted_without_namespace(found: Submission | Rejection) -> Submission | Rejection:
    """Add a warning if nothing of the world's name is left in topic names: it has no namespace then.

    Its topics are shared with every such world, with submissions without a world, and across execution domains.
    """
    if isinstance(found, Rejection) or found.context.namespace or not found.context.world_id.strip():
        return found
    message = (
        f"world {found.context.world_id[:80]!r} leaves nothing for a topic name: it has no namespace, and shares "
        "its topics with every world like it, with none, and across execution domains"
    )
    notice = Notice(NoticeCode.NAMESPACE_RESPELLED, message)
    return msgspec.structs.replace(found, warnings=(*found.warnings, notice))


def _cross_context(nodes: tuple[Node, ...], contexts: list[ComputeContext]) -> Rejection | None:
    """`cross_context` if nodes have a compute key of another context."""
    crossed: list[dict[str, Any]] = []
    for node in nodes:
        if not node.compute_key:
            continue
        allowed = {compute_key(node.node_id, context) for context in contexts}
        if not allowed.issuperset(node.compute_key.split(",")):
            expected = min(allowed) if len(allowed) == 1 else f"one of {len(allowed)}"
            crossed.append({"node_id": node.node_id, "expected": expected, "got": node.compute_key})
    if not crossed:
        return None
    first = crossed[0]
    message = f"{len(crossed)} nodes have a compute_key of another context than the one they are submitted in"
    return Rejection(
        ErrorCode.CROSS_CONTEXT,
        message,
        "compute_key",
        first["node_id"],
        first["expected"],
        first["got"],
        tuple(crossed[:DETAILS_MAX]),
    )
