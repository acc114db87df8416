"""One submission per world: context resolved, compute keys of nodes checked, ids computed."""

from __future__ import annotations

from typing import Any

import msgspec

from dagmanager.dag.field_errors import DETAILS_MAX
from dagmanager.dag.model import ComputeContext, Dag, Envelope, Node, Notice, Record, Submission
from dagmanager.dag.nodes.content import submission_digest, submission_id
from dagmanager.dag.record.compute_key import compute_key
from dagmanager.dag.record.context import KNOWN_DOMAINS, resolve_context, segment
from dagmanager.errors import ErrorCode, FaultCount, NoticeCode, Rejection


def submissions(
    envelope: Envelope,
    dag: Dag,
    record: Record,
    *,
    namespaces: bool,
    dry_run_ids: frozenset[str],
) -> tuple[Submission | Rejection, ...]:
    """One submission or rejection per world, in the order of the request: an invalid world affects no other.

    `record` is the one that was read; `namespaces` the setting of that name. A node with a `compute_key` refuses the worlds
    that it does not belong to (`cross_context`, docs/semantics.md 5).
    """
    contexts = [resolve_context(envelope, dag, world, namespaces=namespaces) for world in envelope.worlds]
    usable = [context for context in contexts if isinstance(context, ComputeContext)]
    claims = _ComputeKeyClaims(dag.nodes, usable)
    found: list[Submission | Rejection] = []
    for world, context in zip(envelope.worlds, contexts, strict=True):
        if isinstance(context, Rejection):
            found.append(context)
            continue
        crossed = claims.crossed(context)
        if crossed is not None:
            found.append(crossed)
            continue
        submission = _submission(envelope, dag, context, record, envelope.strategy_id in dry_run_ids)
        found.append(_noted_without_namespace(submission) if namespaces and world.strip() else submission)
    return tuple(found)


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
    if not context.namespace or meta_namespace or segment(world) == world.strip():
        return ()
    message = (
        f"world {world[:80]!r} is spelled {context.namespace[:80]!r} in topic names, as any world would be "
        "that differs only in case, in characters other than letters, digits, - and _, or in - and _ at its ends: "
        "they share their topics"
    )
    return (Notice(NoticeCode.NAMESPACE_RESPELLED, message),)


def _noted_without_namespace(found: Submission) -> Submission:
    """Add a warning if a world that the request names has no namespace, as nothing of its name, or of the domain's, is left.

    Its topics are shared with every such world, with submissions without a world, and across execution domains.
    """
    if found.context.namespace:
        return found
    world = found.context.world_id
    what = f"the execution domain of world {world[:80]!r}" if segment(world) else f"world {world[:80]!r}"
    message = (
        f"{what} leaves nothing for a topic name: the world has no namespace, and shares "
        "its topics with every world like it, with none, and across execution domains"
    )
    notice = Notice(NoticeCode.NAMESPACE_RESPELLED, message)
    return msgspec.structs.replace(found, warnings=(*found.warnings, notice))


class _ComputeKeyClaims:
    """The compute keys that nodes carry, against the contexts of all worlds of the record."""

    def __init__(self, nodes: tuple[Node, ...], contexts: list[ComputeContext]) -> None:
        """`contexts` are those that resolved; most DAGs carry no compute key, and cost nothing here."""
        self._claims = [(node, frozenset(node.compute_key.split(","))) for node in nodes if node.compute_key]
        self._known = {
            node.node_id: {compute_key(node.node_id, context) for context in contexts}
            for node, _ in self._claims
        }

    def crossed(self, context: ComputeContext) -> Rejection | None:
        """`cross_context` if a node carries no key of this world, or one that belongs to no world of the record."""
        found: list[dict[str, Any]] = []
        count = 0
        for node, claimed in self._claims:
            expected = compute_key(node.node_id, context)
            if expected in claimed and claimed <= self._known[node.node_id]:
                continue
            count += 1
            if len(found) < DETAILS_MAX:
                found.append({"node_id": node.node_id, "expected": expected, "got": node.compute_key})
        if not found:
            return None
        first = found[0]
        message = f"{count} nodes have a compute_key of another context than the one they are submitted in"
        return Rejection(
            ErrorCode.CROSS_CONTEXT,
            message,
            "compute_key",
            first["node_id"],
            first["expected"],
            first["got"],
            tuple(found),
            (FaultCount(ErrorCode.CROSS_CONTEXT, "compute_key", "", count),),
        )
