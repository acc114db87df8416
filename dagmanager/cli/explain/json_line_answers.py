"""Lines of JSON in, one answer per line out: what `node-id` and `compute-key` share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Final

from dagmanager.cli.explain.rejection_report import rejection_report
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.terminal.report import CommandError, Exit, Report, show, usage
from dagmanager.terminal.text import note, write_json

LINE_BYTES_MAX: Final = 8 * 1024 * 1024
NAME: Final = "<stdin>"
OPENED: Final = (b"{", b"[")  # how a JSON value over several lines begins


def answer_lines(convert: Callable[[bytes], str | Rejection], key: str, *, as_json: bool) -> Exit:
    """Writes one line for every line of stdin, in order; a bad one is reported and does not stop the rest.

    Without `--json` a bad line answers an empty line, so that line numbers match; the error is on stderr.
    """
    bad = 0
    for number, line in enumerate(_lines(), start=1):
        if number == 1 and line is not None and line.strip() in OPENED:
            raise _not_lines()
        found = convert(line) if line is not None else _too_long()
        if isinstance(found, str):
            _write(found, key, as_json)
            continue
        bad += 1
        if as_json:
            write_json({"error": found.as_json()})
        else:
            sys.stdout.write("\n")
            show(rejection_report(found, line or b"", NAME, number)._replace(source="", helps=()))
    return Exit.REFUSED if bad else Exit.FINE


def _write(answer: str, key: str, as_json: bool) -> None:
    if as_json:
        write_json({key: answer})
    else:
        sys.stdout.write(answer + "\n")


def _lines() -> Iterator[bytes | None]:
    """Each line without its end; None for one that is longer than anything we accept."""
    if sys.stdin is None:
        raise usage("stdin is closed: give one JSON object per line there")
    if sys.stdin.isatty():
        note("reading one JSON object per line; end with Ctrl-D")
    stream = sys.stdin.buffer
    while line := stream.readline(LINE_BYTES_MAX + 2):
        complete = line.endswith(b"\n")
        if complete or len(line) <= LINE_BYTES_MAX:
            yield line.rstrip(b"\r\n") if complete else line
            continue
        yield None
        while line and not line.endswith(b"\n"):
            line = stream.readline(LINE_BYTES_MAX)


def _not_lines() -> CommandError:
    message = (
        "the first line is only the beginning of a JSON value; each line must be a whole one (JSON lines)"
    )
    helps = ("`jq -c '.nodes[]' dag.json` writes each node of a DAG on one line",)
    return CommandError(
        Report(ErrorCode.INVALID_JSON.value, message, Exit.REFUSED, file=NAME, line=1, helps=helps)
    )


def _too_long() -> Rejection:
    return Rejection(ErrorCode.TOO_LARGE, f"the line has more than {LINE_BYTES_MAX:,} bytes")
