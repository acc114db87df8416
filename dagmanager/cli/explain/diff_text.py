"""How a diff looks: for people, for pull requests. Pure but for `show`; reads the dict of `diff --json`.

A node of the dict may carry `why`, a list of lines; the context may carry `assumed`, the names of
fields that have their default.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dagmanager.cli.explain.error_page import codes, remedy
from dagmanager.errors import NoticeCode
from dagmanager.terminal.node_label import NodeLabels
from dagmanager.terminal.table import Heading, markdown_table, table
from dagmanager.terminal.text import (
    columns,
    counted,
    markdown_code,
    markdown_text,
    painted,
    visible,
    wrapped,
)

ACTIONS: Final = ("create", "reuse", "buffer", "isolate")
HEADS: Final = (
    Heading("action"),
    Heading("name", narrowest=16),
    Heading("reason", narrowest=15, late=True),
    Heading("topic", narrowest=16),
)
ID_HEAD: Final = Heading("node")
UNCHANGED_MAX: Final = 10  # more unchanged rows than these are folded into one line
WARNINGS_MAX: Final = 5  # of one code
HASH: Final = re.compile("[0-9a-f]{32,}")
HASH_SHOWN: Final = 8  # digits without --wide
REASONS: Final = {
    "new_node": "no such computation exists: a node and a topic are created",
    "new_binding": "the computation exists, but has no topic in this namespace yet: one is created",
    "resurrected": "its topic was deleted or lost: a new one is created, with `_v{n}` at the end of its name",
    "joined": "another submission is creating the topic at the same time: it is shared",
    "same_spec": "the computation and its schema exist: the topic is shared",
    "still_buffering": "the topic is shared; its consumers still buffer after a change of schema",
    "schema_changed": "the topic is shared; the schema changed, so consumers buffer for 7 days",
    "schema_older": "the topic is shared; this schema was current less than 7 days ago, so consumers buffer",
    "removed": "the previous version has this node, the new one does not",
    "safe_mode:missing_as_of": "a backtest or dry run without as_of runs isolated from all others",
    "safe_mode:gateway": "the Gateway asked for safe mode: it runs isolated from all others",
    "safe_mode:decision_unavailable": "without an execution domain it runs isolated from all others",
}


VERSION_CHANGES: Final = {
    "new_version": "a run puts it into force, in place of an earlier version or beside it",
    "reinstated": "a run puts this earlier version into force again",
    "weight": "a run changes its share of the traffic",
}


class Detail(NamedTuple):
    """How much is shown: reasons in words, unchanged rows and all warnings, whole ids and digests."""

    explain: bool = False
    all_rows: bool = False
    wide: bool = False


def differs(found: Mapping[str, Any]) -> bool:
    """Whether a run would change anything: a node that is not simply reused or gets other attributes, a removed one, or a
    version (another label, tag or name, or another weight)."""
    created = any(node["action"] != "reuse" for node in found["nodes"])
    merged = any(each["code"] == NoticeCode.NODE_ATTRIBUTES_DIFFER.value for each in found["warnings"])
    return created or merged or bool(found["removed"] or found["changed"] or found["version_change"])


def context_line(found: Mapping[str, Any]) -> str:
    """The context of the decision; a default is marked."""
    context = found["context"]
    assumed = context.get("assumed") or ()
    parts = []
    for key, label in (
        ("world_id", "world"),
        ("execution_domain", "domain"),
        ("as_of", "as_of"),
        ("partition", "partition"),
    ):
        value = context.get(key)
        if value:
            mark = " (default)" if key in assumed else ""
            parts.append(f"{label} {visible(str(value))}{mark}")
    return "context: " + (", ".join(parts) or "none")


def count_line(found: Mapping[str, Any]) -> str:
    """The whole in one line, without what does not occur."""
    counts = {**found["actions"], "removed": len(found["removed"])}
    shown = [f"{counts[each]} {each}" for each in (*ACTIONS, "removed") if counts.get(each)]
    return ", ".join([*shown, f"version {visible(found['version'])}"])


def cost_line(found: Mapping[str, Any]) -> str:
    """What a run would cost: topics that it creates, and history that consumers must read again."""
    actions = found["actions"]
    isolated, unchanged = actions.get("isolate", 0), actions.get("reuse", 0)
    parts = [counted(actions.get("create", 0), "new topic")]
    if isolated:
        parts.append(f"{counted(isolated, 'isolated topic')}, kept for a day")
    if actions.get("buffer"):
        parts.append(f"{counted(found['history_periods'], 'period')} of history to read again")
    if unchanged:
        parts.append(f"{counted(unchanged, 'node')} unchanged")
    return "cost: " + "; ".join(parts)


def rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row per node, in the DAG's order, then the removed ones: the cells of HEADS, and the id."""
    shown = [_row(node) for node in found["nodes"]]
    return shown + [("remove", each["name"], "removed", "", each["node_id"]) for each in found["removed"]]


def show(found: Mapping[str, Any], detail: Detail) -> None:
    """On stdout: context, table, reasons, warnings, and the summary last."""
    width = None if detail.wide else columns()
    blocks = [
        [wrapped(line, width, "  ") for line in _opening(found)],
        list(node_table(rows(found), detail, width)),
        [wrapped(line, width, "  ") for line in _legend(found, detail)] if detail.explain else [],
        [wrapped(line, width, "  ") for line in (*changed_lines(found, detail), *_version_lines(found))],
        [wrapped(line, width, "  ") for line in _elsewhere(found)],
        list(_warnings(found, detail, width)),
        list(_digests(found)) if detail.wide else [],
        [
            wrapped(cost_line(found), width, "  "),
            painted(wrapped(count_line(found), width, "  "), "1", sys.stdout),
        ],
    ]
    sys.stdout.write("\n\n".join("\n".join(block) for block in blocks if block) + "\n")


def markdown(found: Mapping[str, Any], *, explain: bool) -> str:
    """The same facts as a comment for a pull request, with every row and every id."""
    lines = [*_opening(found), count_line(found), cost_line(found), *_digests(found)]
    parts = ["### DAG diff", "\n".join(f"- {markdown_text(line)}" for line in lines)]
    cells = rows(found)
    if cells:
        heads = [heading.name for heading in (*HEADS, ID_HEAD)]
        parts.append(markdown_table(heads, [_markdown_cells(row) for row in cells]))
    detail = Detail(explain, all_rows=True, wide=True)
    closing = [
        *changed_lines(found, detail),
        *_version_lines(found),
        *(_legend(found, detail) if explain else ()),
    ]
    for _, lines in warning_lines(found, detail):
        closing += lines
    if closing:
        parts.append("\n".join(f"- {markdown_text(line.strip())}" for line in closing))
    return "\n\n".join(parts)


def _opening(found: Mapping[str, Any]) -> Iterator[str]:
    yield context_line(found)
    if found.get("safe_mode"):
        yield f"safe mode: {visible(str(found['safe_mode']))}; nothing is shared with other submissions"


def _labels(found: Mapping[str, Any], detail: Detail) -> NodeLabels:
    nodes = (*found["nodes"], *found["removed"])
    return NodeLabels(((node["node_id"], node.get("name") or "") for node in nodes), whole_ids=detail.wide)


def changed_lines(found: Mapping[str, Any], detail: Detail) -> Iterator[str]:
    """The fields of nodes that change, although every topic may stay."""
    labels = _labels(found, detail)
    for each in found["changed"]:
        before, after = (_value(each[key], detail) for key in ("before", "after"))
        yield f"changed: {labels.label(each['node_id'])}: {each['field']} {before} -> {after}"


def _version_lines(found: Mapping[str, Any]) -> Iterator[str]:
    if words := VERSION_CHANGES.get(found["version_change"]):
        yield f"version {visible(found['version'])}: {words}"


def _value(value: str | Sequence[str], detail: Detail) -> str:
    text = value if isinstance(value, str) else ", ".join(value)
    shown = text if detail.wide else HASH.sub(lambda found: f"{found[0][:HASH_SHOWN]}…", text)
    return visible(shown) or "none"


def _digests(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"plan {found['plan_digest']}"
    yield f"submission {found['submission_digest']}"


def node_table(cells: Sequence[tuple[str, ...]], detail: Detail, width: int | None) -> Iterator[str]:
    """The table of `rows`; many unchanged nodes in one line."""
    unchanged = Counter(row[2] for row in cells if row[0] == "reuse")
    folded = unchanged.total() > UNCHANGED_MAX and not detail.all_rows
    if folded:
        cells = [row for row in cells if row[0] != "reuse"]
    if cells:
        heads = (*HEADS, ID_HEAD) if detail.wide else HEADS
        yield from table(heads, [row[: len(heads)] for row in cells], width).styled(cells, sys.stdout)
    if folded:
        why = ", ".join(unchanged)
        yield wrapped(f"  {counted(unchanged.total(), 'node')} reuse ({why}); --all shows them", width, "  ")


def _elsewhere(found: Mapping[str, Any]) -> Iterator[str]:
    """The usual surprise after a run: the same DAG has its topics under another world or domain."""
    if any(node["reason"] == "new_binding" for node in found["nodes"]):
        yield "note: nodes with new_binding have topics in another namespace; --world and --domain choose it"


def _legend(found: Mapping[str, Any], detail: Detail) -> Iterator[str]:
    labels = _labels(found, detail)
    for reason in dict.fromkeys(row[2] for row in rows(found)):
        yield f"{visible(reason)}: {REASONS.get(reason, 'runs isolated from all other submissions')}"
    for node in found["nodes"]:
        for line in node.get("why") or ():
            yield f"  {labels.label(node['node_id'])}: {visible(str(line))}"


def _warnings(found: Mapping[str, Any], detail: Detail, width: int | None) -> Iterator[str]:
    for code, lines in warning_lines(found, detail):
        for line in lines:
            indent = "  " if line.startswith("warning") else "    "
            shown = wrapped(line, width, indent)
            head, colon, text = shown.partition(":") if indent == "  " else ("", "", shown)
            yield f"{painted(head + colon, '1;33', sys.stdout)}{text}"
        if detail.explain and code in codes():
            yield wrapped(f"  help: {remedy(code)}", width, "    ")


def warning_lines(found: Mapping[str, Any], detail: Detail) -> Iterator[tuple[str, list[str]]]:
    """Each code with its lines; several warnings of one message share its head, with at most 5 below it without
    `all_rows`. Nodes are called by their names."""
    labels, most = _labels(found, detail), None if detail.all_rows else WARNINGS_MAX

    def about(warning: Mapping[str, Any]) -> str:
        details = ", ".join(labels.labelled(visible(str(each))) for each in warning.get("details") or ())
        node = labels.label(warning["node_id"]) if warning.get("node_id") else ""
        return ": ".join(filter(None, (node, details)))

    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for warning in found["warnings"]:
        groups.setdefault((warning["code"], warning["message"]), []).append(warning)
    for (code, message), members in groups.items():
        head = f"warning[{code}]: {labels.labelled(visible(message))}"
        lines = [head, *(f"  {about(each)}" for each in members[:most] if about(each))]
        if more := len(members) - len(members[:most]):
            lines.append(f"  … and {more:,} more; --all shows them")
        yield code, lines


def _row(node: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        node["action"],
        node.get("name") or "",
        node["reason"],
        node.get("topic") or "",
        node["node_id"],
    )


def _markdown_cells(row: Sequence[str]) -> tuple[str, ...]:
    action, name, reason, topic, node_id = row
    return (
        markdown_text(action),
        markdown_code(name),
        markdown_text(reason),
        markdown_code(topic),
        markdown_code(node_id),
    )
