"""A refused submission, explained in the file it came from: line, caret, the word that was meant."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Final

from dagmanager.cli.explain.error_page import remedy
from dagmanager.cli.explain.json_mistake import Mistake, encoding_mistake, syntax_mistake
from dagmanager.cli.explain.json_position import (
    JsonPosition,
    Path,
    find,
    keys_at,
    node_path,
    path_of,
    place_at,
    pointer_of,
    value_start,
)
from dagmanager.cli.explain.misspelt_fields import misspelt_fields
from dagmanager.dag.nodes.node_fields import ID_PREFIX, KNOWN_FIELDS
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.terminal.node_label import NodeLabels, short_id
from dagmanager.terminal.report import Exit, Report
from dagmanager.terminal.text import nearest

SHOWN_MAX = 5
_PLACE: Final = re.compile(r", at line \d+, column \d+ \(byte \d+\)( of the DAG)?$")
_DAG_FIELDS = frozenset({"nodes", "meta", "schema_version"})


def rejection_report(rejection: Rejection, raw: bytes, file: str, first_line: int = 1) -> Report:
    """The rejection with its place in `raw`; `first_line` is the number of its first line in `file`."""
    text = raw.decode("utf-8", "replace")
    path = _in_file(path_of(rejection.field or ""), text)
    mistake = _json_mistake(rejection, raw, text)
    place = (
        _at_byte(raw, text, mistake.offset)
        if mistake and mistake.offset is not None
        else _known_place(rejection, raw, text) or _found_place(rejection, text, path)
    )
    helps = [mistake.help] if mistake else _one_of_many(rejection, text, file)
    return Report(
        code=rejection.code.value,
        message=(mistake and mistake.message) or _short(rejection, text),
        exit=Exit.UNREACHABLE if rejection.code is ErrorCode.UNAVAILABLE else Exit.REFUSED,
        file=file,
        line=place.line + first_line - 1,
        column=place.column,
        pointer=pointer_of(path) if path else "",
        source="" if mistake and mistake.is_binary else place.source,
        caret=place.caret,
        width=place.width,
        notes=tuple(_notes(rejection, text)),
        helps=tuple(_meant(rejection, text, path) + (helps or [remedy(rejection.code.value)])),
        error=rejection.as_json(),
    )


def _json_mistake(rejection: Rejection, raw: bytes, text: str) -> Mistake | None:
    if rejection.code is not ErrorCode.INVALID_JSON:
        return None
    found = encoding_mistake(raw)
    if found is None and (offset := _offset(rejection, raw, text)) is not None:
        found = syntax_mistake(text, len(raw[:offset].decode("utf-8", "replace")), rejection.message)
    return found


def _short(rejection: Rejection, text: str) -> str:
    """The message without its place, which is below it; ids short, the nodes of a cycle by their names."""
    message = _PLACE.sub("", rejection.message.removeprefix(f"{rejection.field or ''}: "))
    labels = node_labels(text) if rejection.code is ErrorCode.DEPENDENCY_CYCLE else NodeLabels()
    return labels.labelled(message)


def node_labels(text: str) -> NodeLabels:
    """The labels of a file's nodes; without names for a text that is not a DAG or a submission."""
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        return NodeLabels()
    holder = document.get("dag", document) if isinstance(document, dict) else None
    nodes = holder.get("nodes") if isinstance(holder, dict) else None
    return NodeLabels(
        (str(node["node_id"]), node["name"])
        for node in (nodes if isinstance(nodes, list) else [])
        if isinstance(node, dict) and "node_id" in node and isinstance(node.get("name"), str)
    )


def _one_of_many(rejection: Rejection, text: str, file: str) -> list[str]:
    """A second value after a whole first line: JSON lines, which `run` reads; `diff` takes one of them."""
    line = text.lstrip().split("\n", 1)[0]
    if (
        rejection.code is not ErrorCode.INVALID_JSON
        or find(line, ()) is None
        or "follows" not in rejection.message
    ):
        return []
    take = "`sed -n 1p`" if file.startswith("<") else f"`sed -n 1p {shlex.quote(file)} > one.json`"
    return [f"each line is a submission of its own (JSON lines); take one of them: {take}"]


def _in_file(path: Path, text: str) -> Path:
    """The decoder's paths begin in the DAG; in a submission the DAG is the field `dag`."""
    if path and path[0] in _DAG_FIELDS:
        top = set(keys_at(text, ()))
        if "dag" in top and path[0] not in top:
            return ("dag", *path)
    return path


def _known_place(rejection: Rejection, raw: bytes, text: str) -> JsonPosition | None:
    """Where the decoder stopped, when it says so."""
    offset = _offset(rejection, raw, text)
    return None if offset is None else _at_byte(raw, text, offset)


def _offset(rejection: Rejection, raw: bytes, text: str) -> int | None:
    """The decoder's place in bytes of the file."""
    if rejection.code is not ErrorCode.INVALID_JSON:
        return None
    offset = rejection.details[0].get("offset") if rejection.details else None
    if not isinstance(offset, int):
        return None if text.strip() else 0
    return offset + _start_of_dag(rejection, raw, text)


def _at_byte(raw: bytes, text: str, offset: int) -> JsonPosition:
    start = min(len(raw[:offset].decode("utf-8", "replace")), len(text))
    return place_at(text, start, start + 1)


def _start_of_dag(rejection: Rejection, raw: bytes, text: str) -> int:
    """Where in the file, in bytes, the text begins in which the decoder counted."""
    if not rejection.message.endswith(" of the DAG"):
        return 0
    dag = value_start(text, ("dag",))
    return len(text[:dag].encode()) if dag is not None else len(raw) - len(raw.lstrip())


def _found_place(rejection: Rejection, text: str, path: Path) -> JsonPosition:
    if not path and rejection.node_id:
        path = node_path(text, rejection.node_id)
    span = find(text, path) if text else None
    if span is None or not (span.whole or path):
        return JsonPosition(1, 1, "", 0, 1)
    if not span.whole:  # what is missing cannot be shown: show whose it is
        owner = find(text, path[:-1])
        span = owner or span
    return place_at(text, span.start, min(span.end, span.start + 100))


def _notes(rejection: Rejection, text: str) -> list[str]:
    """Facts below the place. The expected id is whole: it is what has to be written into the file."""
    notes: list[str] = []
    if rejection.node_id and rejection.node_id != rejection.got:
        notes.append(f"node: {node_labels(text).label(rejection.node_id)}")
    if rejection.expected is not None:
        notes.append(f"expected: {rejection.expected}")
    if rejection.got is not None:
        notes.append(
            f"got: {short_id(rejection.got) if rejection.got.startswith(ID_PREFIX) else rejection.got}"
        )
    return [*notes, *(f"also: {line}" for line in _others(rejection.details))]


def _meant(rejection: Rejection, text: str, path: Path) -> list[str]:
    """Fields with a typing error in their names, which may be the cause: the missing field, or ignored optional ones."""
    required = _meant_field(rejection, text, path)
    if required or rejection.code is ErrorCode.INVALID_JSON or "did you mean" in rejection.message:
        return required
    ignored = [f"{pointer} is unknown: did you mean `{meant}`?" for pointer, meant in misspelt_fields(text)]
    return ignored[:SHOWN_MAX]


def _meant_field(rejection: Rejection, text: str, path: Path) -> list[str]:
    """The field that is probably the missing one, with a typing error in its name."""
    if rejection.code is not ErrorCode.MISSING_FIELDS or not path or "did you mean" in rejection.message:
        return []
    near = nearest(str(path[-1]), set(keys_at(text, path[:-1])) - KNOWN_FIELDS)
    if near:
        return [f"did you mean `{path[-1]}` where it says `{near}`?"]
    return ["`dagmanager node-id --dag FILE --write` computes node ids"] if path[-1] == "node_id" else []


def _others(details: tuple[dict[str, Any], ...]) -> list[str]:
    lines = [str(each.get("message") or each.get("field") or "") for each in details[1:]]
    lines = [line for line in lines if line]
    more = len(lines) - SHOWN_MAX
    return lines[:SHOWN_MAX] + ([f"… and {more} more, all in --json"] if more > 0 else [])
