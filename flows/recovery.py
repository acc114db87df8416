"""The recovery folder: created and checked here, filled by Bytewax.

Its files contain pickles, which run code when they are loaded: so no other user may write there. One run at a time uses
it. Bytewax silently drops the state of a step whose id it does not find: `flow.json` has the ids and what is read, and a
start with others is refused (or upgraded: `recovery_upgrade`). `start.json` has the start time of the current run.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir

from dagmanager.disk.replace_file import replace_file
from dagmanager.errors import InputLostError, SettingsError
from flows.failures import damaged, explained, of_sqlite, of_system
from flows.recovery_upgrade import FORMER_STEPS, REMOVED_STEP, delete_removed_state
from operators.sources.topic_identity import other_topic

logger = logging.getLogger("dagmanager.flow")

# Each one is a database of its own, flushed to disk several times in every epoch, during which the worker waits:
# eight cost 13 ms twice a second, one costs 3. Folders of older releases have eight, and keep them.
PARTITIONS: Final = 1
STEPS_FILE: Final = "flow.json"
START_FILE: Final = "start.json"
LOCK_FILE: Final = "lock"
READY_FILE: Final = "ready"
# The core operators of Bytewax that have state in snapshots.
_STATEFUL: Final = frozenset({"input", "stateful_batch", "output"})


class Steps(msgspec.Struct, frozen=True):
    """The content of `flow.json`; of a topic also its id, and which parts of it this run reads."""

    flow_id: str
    stateful_steps: tuple[str, ...]
    submissions: str = ""  # older releases wrote neither this nor the fields below
    topic_id: str = ""
    parts: tuple[str, ...] = ()


class Reading(msgspec.Struct, frozen=True):
    """What a run reads: a path, or `topic NAME` with the topic's id and the parts that this process reads."""

    submissions: str
    topic_id: str = ""
    parts: tuple[str, ...] = ()


class Start(msgspec.Struct, frozen=True):
    """The content of `start.json`."""

    start_ms: int


class StartFile:
    """The start time of the current run, as a `RunStart`: a kill may come before the first snapshot has it."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or created yet."""
        self._path = folder / START_FILE

    def kept_ms(self) -> int | None:
        """The start of the run that began last, in ms since 1970; None without one. `SettingsError` for a damaged file."""
        try:
            with named_errors(self._path.parent):
                if not self._path.exists():
                    return None
                return msgspec.json.decode(self._path.read_bytes(), type=Start).start_ms
        except msgspec.DecodeError as error:
            raise damaged(self._path.parent, f"{self._path.name}: {error}") from error

    def keep(self, start_ms: int) -> None:
        """Store this start, in ms since 1970; durable before it returns."""
        with named_errors(self._path.parent):
            replace_file(self._path, msgspec.json.encode(Start(start_ms)) + b"\n")


def check_store(folder: Path, store: str) -> None:
    """Raise `SettingsError` when the folder has snapshots but the store of their run no longer exists.

    The run would resume and create again what it had answered. Call it before the store is opened, which creates a new
    one. Warns of a graph in memory.
    """
    if not store:
        logger.warning(
            "--recovery without --store: the graph is in memory and lost with this process, so that a resumed run "
            "creates again what it had answered"
        )
    elif (folder / STEPS_FILE).exists() and not Path(store).exists():
        msg = (
            f"recovery folder {folder} belongs to the store {store}, which does not exist: restore it, or give "
            "a new recovery folder (then everything is read again, as new submissions)"
        )
        raise SettingsError(msg)


NO_READING: Final = Reading("")


def step_ids(flow: Dataflow) -> tuple[str, ...]:
    """Every step id, nested ones included, in order."""
    return tuple(step.step_id for step in _walk(flow))


def stateful_steps(flow: Dataflow, reading: Reading = NO_READING) -> Steps:
    """The steps whose state Bytewax finds by id."""
    found = tuple(step.step_id for step in _walk(flow) if type(step).__name__ in _STATEFUL)
    return Steps(flow.flow_id, found, reading.submissions, reading.topic_id, reading.parts)


@contextmanager
def prepared(folder: Path, flow: Dataflow, reading: Reading) -> Iterator[RecoveryConfig]:
    """The recovery store in `folder`, created if it does not exist, and locked for this run within the block.

    `SettingsError` when others can read or write it, when another run uses it, when it is damaged, or when it belongs to
    a flow with other steps or submissions; `InputLostError` when the topic was created again under its name;
    `UnavailableError` when the disk is full. Never waits for the lock.
    """
    with named_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = folder.stat().st_mode & 0o077
        if mode:
            msg = f"recovery folder {folder} is open to others (mode {mode:03o}): chmod 700 {folder}"
            raise SettingsError(msg)
        lock = _locked(folder)
    try:
        with named_errors(folder):
            _prepare(folder, stateful_steps(flow, reading))
        yield RecoveryConfig(str(folder))
    finally:
        os.close(lock)


@contextmanager
def named_errors(folder: Path) -> Iterator[None]:
    """Raise an `OSError` of the block as a `DagManagerError` that names the folder."""
    try:
        yield
    except OSError as error:
        known = of_system(error, f"recovery folder {folder}")
        msg = f"recovery folder {folder} cannot be used: {error.strerror}"
        raise known or SettingsError(msg) from error


def _locked(folder: Path) -> int:
    """The lock's descriptor; the system frees it however this process ends."""
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        msg = f"recovery folder {folder} is in use by another run: give each run its own folder"
        raise SettingsError(msg) from error
    return lock


def _prepare(folder: Path, steps: Steps) -> None:
    stored = _stored_steps(folder / STEPS_FILE)
    former = stored is not None and stored.stateful_steps == FORMER_STEPS
    if stored is not None:
        _check_steps(folder, stored, steps, removed={REMOVED_STEP} if former else set())
    ready = (folder / READY_FILE).exists()
    if ready:
        _check_partitions(folder)
        StartFile(folder).kept_ms()  # damage is better found here than by a worker
        if former:
            _upgrade(folder)
    if stored != steps:  # after an upgrade, so that a kill before this line repeats it
        replace_file(folder / STEPS_FILE, msgspec.json.encode(steps) + b"\n")
    if ready:
        return
    # Without `ready`, a crash may have left some of the partitions: nothing was stored yet, so create all of them again.
    for half_made in folder.glob("*.sqlite3*"):
        half_made.unlink()
    try:
        init_db_dir(folder, PARTITIONS)
    except BaseException as failed:  # a panic of Bytewax is not an Exception
        known = explained(failed, folder)
        if known is None:
            raise
        raise known from None
    (folder / READY_FILE).touch()


def _upgrade(folder: Path) -> None:
    try:
        delete_removed_state(folder)
    except sqlite3.Error as error:
        raise of_sqlite(error, folder) from error


def _check_partitions(folder: Path) -> None:
    """Raise for a partition that is missing or damaged: Bytewax would panic, and print a stack."""
    made: int | None = PARTITIONS
    for path in sorted(folder.glob("part-*.sqlite3")):
        try:
            made = _partition_count_in(path)
        except sqlite3.Error as error:
            raise of_sqlite(error, folder) from error
        if made is None:
            raise damaged(folder, f"{path.name} is not a partition")
    for index in range(made or 0):
        if not (folder / f"part-{index}.sqlite3").is_file():
            raise damaged(folder, f"part-{index}.sqlite3 is missing")


def _partition_count_in(path: Path) -> int | None:
    """How many partitions there were when this file was created; None when it is not a partition."""
    with closing(sqlite3.connect(path)) as file:
        [(verdict,)] = file.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            return None
        [(count,)] = file.execute("SELECT max(part_count) FROM parts").fetchall()
    return None if count is None else int(count)


def _stored_steps(path: Path) -> Steps | None:
    """The steps and the input of the run that used the folder last; None for a new folder."""
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Steps)
    except msgspec.DecodeError as error:
        msg = f"{path} is damaged ({error}): give another recovery folder, or restore this one"
        raise SettingsError(msg) from error


def _check_steps(folder: Path, stored: Steps, now: Steps, removed: set[str]) -> None:
    """Raise when a step with state does not exist now and is not `removed` by an upgrade, or when other input is read."""
    gone = sorted(set(stored.stateful_steps) - set(now.stateful_steps) - removed)
    if stored.flow_id != now.flow_id or gone:
        missing = ", ".join(gone) or stored.flow_id
        msg = (
            f"{folder} has the state of steps that this release does not have ({missing}): it would be lost. "
            "Let the release that wrote it read its input to the end, then use a new recovery folder"
        )
        raise SettingsError(msg)
    if stored.submissions and stored.submissions != now.submissions:
        msg = (
            f"recovery folder {folder} belongs to a run with --submissions {stored.submissions}, "
            f"not {now.submissions}: use another folder"
        )
        raise SettingsError(msg)
    _check_topic(folder, stored, now)


def _check_topic(folder: Path, stored: Steps, now: Steps) -> None:
    """Raise for another topic or a missing part, before Bytewax panics over it with a message that names no reason."""
    if stored.topic_id and stored.topic_id != now.topic_id:
        raise InputLostError(
            other_topic(now.submissions.removeprefix("topic "), stored.topic_id, now.topic_id)
        )
    if left_out := sorted(set(stored.parts).difference(now.parts)):
        msg = (
            f"recovery folder {folder} has offsets of {', '.join(left_out)}, which this run would not read: a folder "
            "belongs to one `--partitions` (or `--index` and `--of`); another share needs a new folder"
        )
        raise SettingsError(msg)


def _walk(parent: Any) -> Iterable[Any]:
    for step in parent.substeps:
        yield step
        if hasattr(step, "substeps"):
            yield from _walk(step)
