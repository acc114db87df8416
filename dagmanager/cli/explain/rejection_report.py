"""A refused submission, explained in the file it came from: line, caret, the word that was meant."""

from __future__ import annotations

import shlex
from typing import Any

from dagmanager.cli.explain.error_page import remedy
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
from dagmanager.cli.framework.error_report import Exit, Report
from dagmanager.cli.framework.output import meant
from dagmanager.dag.nodes.node_fields import ID_PREFIX, KNOWN_FIELDS
from dagmanager.errors import ErrorCode, Rejection

SHOWN_MAX = 5
ID_SHOWN = 15  # `blake3:` and 8 digits
_DAG_FIELDS = frozenset({"nodes", "meta", "schema_version"})


def report_of(rejection: Rejection, raw: bytes, file: str, first_line: int = 1) -> Report:
    """The rejection with its place in `raw`; `first_line` is the number of its first line in `file`."""
    text = raw.decode("utf-8", "replace")
    path = _in_file(path_of(rejection.field or ""), text)
    place = _known_place(rejection, raw, text) or _found_place(rejection, text, path)
    away = rejection.code is ErrorCode.UNAVAILABLE
    notes = [*_notes(rejection, text, path), *_one_of_many(rejection, text, file)]
    return Report(
        code=rejection.code.value,
        message=_short(rejection),
        exit=Exit.SERVER_AWAY if away else Exit.REFUSED,
        file=file,
        line=place.line + first_line - 1,
        column=place.column,
        pointer=pointer_of(path) if path else "",
        source=place.source,
        caret=place.caret,
        width=place.width,
        notes=(*notes, f"help:     {remedy(rejection.code.value)}"),
        error=rejection.as_json(),
    )


def _short(rejection: Rejection) -> str:
    """The message; an id that stands below it in full is cut to what people compare."""
    message = rejection.message.removeprefix(": ")
    for full in (rejection.expected, rejection.got, rejection.node_id):
        if full and full.startswith(ID_PREFIX) and len(full) > ID_SHOWN:
            message = message.replace(full, full[:ID_SHOWN] + "…")
    return message


def _one_of_many(rejection: Rejection, text: str, file: str) -> list[str]:
    """A second value after a whole first line: a file for `run`, of which `diff` takes one line."""
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
    """The decoder speaks of the DAG; in a submission's file it stands under `dag`."""
    if path and path[0] in _DAG_FIELDS:
        top = set(keys_at(text, ()))
        if "dag" in top and path[0] not in top:
            return ("dag", *path)
    return path


def _known_place(rejection: Rejection, raw: bytes, text: str) -> JsonPosition | None:
    """Where the decoder itself stopped, when it says so."""
    offset = rejection.details[0].get("offset") if rejection.details else None
    if rejection.code is not ErrorCode.INVALID_JSON or not isinstance(offset, int):
        return None
    offset += _start_of_dag(rejection, raw, text)
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


def _notes(rejection: Rejection, text: str, path: Path) -> list[str]:
    notes: list[str] = []
    if rejection.node_id and rejection.node_id != rejection.got:
        notes.append(f"node:     {rejection.node_id}")
    if rejection.expected is not None:
        notes.append(f"expected: {rejection.expected}")
    if rejection.got is not None:
        notes.append(f"got:      {rejection.got}")
    if rejection.code is ErrorCode.MISSING_FIELDS and path and "did you mean" not in rejection.message:
        near = meant(str(path[-1]), set(keys_at(text, path[:-1])) - KNOWN_FIELDS)
        if near:
            notes.append(f"did you mean `{path[-1]}` where it says `{near}`?")
    notes += [f"also:     {line}" for line in _others(rejection.details)]
    return notes


def _others(details: tuple[dict[str, Any], ...]) -> list[str]:
    lines = [str(each.get("message") or each.get("field") or "") for each in details[1:]]
    lines = [line for line in lines if line]
    more = len(lines) - SHOWN_MAX
    return lines[:SHOWN_MAX] + ([f"… and {more} more, all in --json"] if more > 0 else [])
