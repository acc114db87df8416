"""Step ids are frozen: Bytewax drops the state of a renamed step without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from bytewax.dataflow import Dataflow

from dagmanager.errors import SettingsError
from flows.recovery import STEPS_FILE, Reading, prepared, stateful_steps, step_ids
from flows.submissions import build
from tests.engine.crashing import Fuse
from tests.flows.crashing import ListSource, World, impatient

GOLDEN = """
input
exchange
exchange.by_strategy
exchange.by_strategy.flat_map_batch
exchange.stateful_batch
exchange.arrival
canonicalize
hash
lookup
classify
upsert
upsert.claim
upsert.start
upsert.finish
upsert.arrival
diff_messages
diffs
dead_letter_messages
dead_letters
answered
answered.map
answered.map.flat_map_batch
queue_events
"""


def flow() -> Dataflow:
    world, fuse = World(), Fuse()
    assembled = world.assembled(fuse)
    return build(assembled, ListSource({}, 1, fuse), world.sinks(assembled, fuse), impatient())


def test_ids_are_as_released() -> None:
    assert list(step_ids(flow())) == [f"dagmanager_submissions.{name}" for name in GOLDEN.split()]


def test_what_keeps_state_is_known() -> None:
    names = [step.removeprefix("dagmanager_submissions.") for step in stateful_steps(flow()).stateful_steps]
    assert names == [
        "input",
        "exchange.stateful_batch",
        "upsert.finish",
        "diffs",
        "dead_letters",
        "queue_events",
    ]


def prepare(folder: Path, submissions: str = "/in") -> None:
    with prepared(folder, flow(), Reading(submissions)):
        pass


def test_a_recovery_folder_of_other_steps_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "recovery"
    prepare(folder)
    assert folder.stat().st_mode & 0o077 == 0
    prepare(folder)
    steps = folder / STEPS_FILE
    steps.write_text(steps.read_text().replace("exchange.stateful_batch", "exchange.renamed"))
    with pytest.raises(SettingsError, match=r"exchange\.renamed"):
        prepare(folder)
    steps.write_text("{")
    with pytest.raises(SettingsError, match="damaged"):
        prepare(folder)


def test_a_folder_that_does_not_note_its_submissions_yet_is_accepted_and_notes_them(tmp_path: Path) -> None:
    prepare(tmp_path / "recovery")
    steps = tmp_path / "recovery" / STEPS_FILE
    steps.write_text(steps.read_text().replace(',"submissions":"/in"', ""))
    prepare(tmp_path / "recovery", "/other")
    with pytest.raises(SettingsError, match="belongs to a run with --submissions /other, not /in"):
        prepare(tmp_path / "recovery")


def test_a_recovery_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "recovery"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(SettingsError, match="chmod 700"):
        prepare(folder)
