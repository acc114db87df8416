"""The decision of `diff`: the engine over a graph in memory with the baselines, or over a store.

The new file is only looked up, never submitted. Nothing is written to disk: it works in a read-only folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dagmanager.assembly import now_ms, policy_of, read_options_of
from dagmanager.dag.model import Node, Origin, Record, Submission
from dagmanager.dag.record.bare_dag import as_submission, strategy_key
from dagmanager.engine.context_defaults import ContextDefaults, says_domain
from dagmanager.engine.decide.build_outcome import build_outcome
from dagmanager.engine.decide.dry_run import provisional_topics
from dagmanager.engine.decide.explain import explain, plan_digest
from dagmanager.engine.decide.predecessor import predecessor
from dagmanager.engine.engine import Engine, lookup, plan
from dagmanager.engine.model.policy import ClaimOptions
from dagmanager.engine.model.rows import Member
from dagmanager.engine.model.version_change import ChangeWeight, NewSentinel, Reinstate, VersionChange
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Planned, Refused
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.graph.embedded.sqlite_snapshot import StoredGraph
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics

if TYPE_CHECKING:
    from dagmanager.cli.explain.diff_request import DiffRequest, InputFile
    from dagmanager.settings.table import Settings

Refusal = tuple[str, Rejection]
STRATEGY = "diff"


def decide(request: DiffRequest, settings: Settings) -> dict[str, Any] | Refusal:
    """The dict of `diff --json`, or the name of the file that is refused and why."""
    reader = Reader(_options(request, settings))
    found = _read(request.file, request, reader)
    if not isinstance(found[0], Submission):
        return found
    new, domain_given = found[0], found[1] or request.domain is not None
    if request.store is not None:
        return _against_store(request, new, domain_given, ClaimOptions("diff", policy_of(settings)))
    ticks = count(1)
    graph = MemoryGraph(lambda: next(ticks))
    options = ClaimOptions("diff", policy_of(settings))
    engine = Engine(graph, MemoryTopics(), MemoryEvents(), MemoryAdminLog(), options, lambda _: None)
    before: Submission | None = None
    for position, file in enumerate(request.baselines):
        old = _read(file, request, reader)
        if not isinstance(old[0], Submission):
            return old
        before = _as_earlier(old[0], new, position)
        [answer] = engine.submit([before])
        if isinstance(answer.result, Rejection):
            return file.name, answer.result
    at_ms = len(request.baselines) + 1
    [looked_up] = lookup(graph, [msgspec.structs.replace(new, at_ms=at_ms, dry_run=True)])
    nodes = before.dag.nodes if before is not None else ()
    return _result(request, plan(looked_up, options), nodes, domain_given)


def _against_store(
    request: DiffRequest, new: Submission, domain_given: bool, options: ClaimOptions
) -> dict[str, Any] | Refusal:
    """The plan against the store of a flow; the previous version is the active one there."""
    graph = StoredGraph(Path(request.store or ""), now_ms)
    [looked_up] = lookup(graph, [msgspec.structs.replace(new, at_ms=now_ms(), dry_run=True)])
    planned = plan(looked_up, options)
    sentinel = predecessor(planned.submission, planned.known)
    content = graph.content(sentinel.content) if sentinel is not None else None
    return _result(request, planned, content.members if content is not None else (), domain_given)


def _result(
    request: DiffRequest, planned: Planned, before: Sequence[Node | Member], domain_given: bool
) -> dict[str, Any] | Refusal:
    found = as_found(planned, before)
    if isinstance(found, Rejection):
        return request.file.name, found
    found["context"]["assumed"] = [] if domain_given else ["execution_domain"]
    return found


def as_found(planned: Planned, before: Sequence[Node | Member]) -> dict[str, Any] | Rejection:
    """The dict of `diff --json` for a plan, or why there is none; `before` are the nodes of the previous version. Pure."""
    if isinstance(planned.plan, Rejection):
        return planned.plan
    if isinstance(planned.change, Rejection):
        return planned.change
    submission, context = planned.submission, planned.submission.context
    topics = provisional_topics(submission, planned.plan, planned.known)
    rows = explain(planned.plan, topics)
    outcome = build_outcome(submission, planned.plan, topics, planned.known)
    return {
        "context": {
            "world_id": context.world_id,
            "execution_domain": context.execution_domain,
            "as_of": context.as_of,
            "partition": context.partition,
            "dataset_fingerprint": context.dataset_fingerprint,
            "namespace": context.namespace,
            "assumed": [],
        },
        "plan_digest": plan_digest(rows),
        "submission_digest": submission.submission_digest,
        "version": submission.dag.version,
        "safe_mode": context.safe_mode,
        "actions": msgspec.structs.asdict(outcome.actions),
        "nodes": rows,
        "removed": _removed(submission, before),
        "changed": _changed(submission, before),
        "version_change": _version_change(planned.change),
        "history_periods": sum(each.lag for each in outcome.buffers),
        "queue_map": dict(outcome.items),
        "warnings": [warning.as_json() for warning in outcome.warnings],
    }


def _read(file: InputFile, request: DiffRequest, reader: Reader) -> tuple[Submission, bool] | Refusal:
    """One submission of a file (of several worlds, the first), and whether the file has an execution domain."""
    # With a store, a bare DAG gets the strategy id that the flow gives to this file.
    nameless = Path(file.name).stem if request.store is not None else STRATEGY
    raw = as_submission(file.raw, request.strategy or nameless)
    item = reader.canonicalize(Record(raw, Origin(file.name), strategy_key(raw).encode()))
    if item is None:
        why = "this is a record of another kind, not a submission"
        return file.name, Rejection(ErrorCode.INVALID_FIELD, why, field="")
    if isinstance(item, Refused):
        return file.name, item.rejection
    first = reader.hash(item)[0]
    return (file.name, first.rejection) if isinstance(first, Refused) else (first, says_domain(item))


def _options(request: DiffRequest, settings: Settings) -> ReadOptions:
    """The context of the command line as default of the file's; the default domain is `live`."""
    defaults = ContextDefaults(
        request.world or "", request.domain or "live", request.as_of or "", request.partition or ""
    )
    return msgspec.structs.replace(read_options_of(settings), context_defaults=defaults)


def _as_earlier(old: Submission, new: Submission, position: int) -> Submission:
    """A baseline as an earlier submission of the new one's lineage, in its context."""
    dag = msgspec.structs.replace(old.dag, lineage=new.dag.lineage)
    return msgspec.structs.replace(
        old,
        strategy_id=f"{new.strategy_id}-baseline-{position}",
        dag=dag,
        context=new.context,
        submission_digest=f"{old.submission_digest}-{position}",
        submission_id=f"{old.submission_id}-{position}",
        at_ms=position + 1,
        dry_run=False,
    )


def _version_change(change: VersionChange | None) -> str | None:
    """What a run would do to the versions of the lineage; None for a resend, one more holder, and in safe mode."""
    match change:
        case NewSentinel():
            return "new_version"
        case Reinstate():
            return "reinstated"
        case ChangeWeight():
            return "weight"
        case _:
            return None


def _changed(new: Submission, before: Sequence[Node | Member]) -> list[dict[str, Any]]:
    """Fields outside the id in which nodes of both versions differ; each changes what a run announces or stores."""
    old = {node.node_id: node for node in before}
    return [
        {"node_id": node.node_id, "name": node.name, "field": field, "before": was, "after": now}
        for node in new.dag.nodes
        if node.node_id in old
        for field in ("name", "tags", "schema_hash")
        if (was := getattr(old[node.node_id], field)) != (now := getattr(node, field))
    ]


def _removed(new: Submission, before: Sequence[Node | Member]) -> list[dict[str, Any]]:
    """Nodes of the previous version that are not in the new one."""
    kept = {node.node_id for node in new.dag.nodes}
    return [{"node_id": node.node_id, "name": node.name} for node in before if node.node_id not in kept]
