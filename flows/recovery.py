"""The recovery folder: made and guarded here, filled by Bytewax.

Its files hold pickles, so nobody else may write there (reliability 1.5). Bytewax silently drops the
state of a step whose id it does not find: `flow.json` holds the ids, and a start with others is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir

from dagmanager.errors import SettingsError

PARTITIONS: Final = 8
STEPS_FILE: Final = "flow.json"
READY_FILE: Final = "ready"
# The core operators that keep something over a restart.
_STATEFUL: Final = frozenset({"input", "stateful_batch", "output"})


class Steps(msgspec.Struct, frozen=True):
    """The content of `flow.json`."""

    flow_id: str
    stateful_steps: tuple[str, ...]


def step_ids(flow: Dataflow) -> tuple[str, ...]:
    """Every step id, nested ones included, in order."""
    return tuple(step.step_id for step in _walk(flow))


def stateful_steps(flow: Dataflow) -> Steps:
    """The steps whose state Bytewax finds by id."""
    found = tuple(step.step_id for step in _walk(flow) if type(step).__name__ in _STATEFUL)
    return Steps(flow.flow_id, found)


def prepare(folder: Path, flow: Dataflow) -> RecoveryConfig:
    """The recovery store in `folder`, made when it is not there.

    `SettingsError` when others can read or write it, or when it belongs to a flow with other steps.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = folder.stat().st_mode & 0o077
        if mode:
            msg = f"recovery folder {folder} is open to others (mode {mode:03o}): chmod 700 {folder}"
            raise SettingsError(msg)
        _check_steps(folder / STEPS_FILE, stateful_steps(flow))
        if not (folder / READY_FILE).exists():
            # A crash in the middle of making them leaves some: nothing was stored yet, so make all anew.
            for half_made in folder.glob("*.sqlite3*"):
                half_made.unlink()
            init_db_dir(folder, PARTITIONS)
            (folder / READY_FILE).touch()
    except OSError as error:
        msg = f"recovery folder {folder} cannot be used: {error.strerror}"
        raise SettingsError(msg) from error
    return RecoveryConfig(str(folder))


def _check_steps(path: Path, now: Steps) -> None:
    """Refuse when a step that has state is gone; note the steps of this flow."""
    if path.exists():
        try:
            stored = msgspec.json.decode(path.read_bytes(), type=Steps)
        except msgspec.DecodeError as error:
            msg = f"{path} is damaged ({error}): give another recovery folder, or restore this one"
            raise SettingsError(msg) from error
        gone = sorted(set(stored.stateful_steps) - set(now.stateful_steps))
        if stored.flow_id != now.flow_id or gone:
            missing = ", ".join(gone) or stored.flow_id
            msg = (
                f"{path.parent} holds the state of other steps than this release has ({missing}): it would be "
                "lost. Let the release that wrote it drain its input, then give a new recovery folder"
            )
            raise SettingsError(msg)
        if stored == now:
            return
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(now) + b"\n")
    fresh.replace(path)


def _walk(parent: Any) -> Iterable[Any]:
    for step in parent.substeps:
        yield step
        if hasattr(step, "substeps"):
            yield from _walk(step)
