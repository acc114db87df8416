"""The version of the stored form of a graph, and how an older graph is carried over (docs/operating/neo4j.md, Carry an
older graph over).

One number for all stores. A change of what is stored raises `MODEL` and adds a step to each store's `carry_over.py` that
has something to change. Adding a field with a default to the end of a row changes no model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from dagmanager.errors import SettingsError

Target = TypeVar("Target")
logger = logging.getLogger("dagmanager")

MODEL: Final = 3


class ModelStep(NamedTuple, Generic[Target]):
    """Brings a graph of the model before to `model`. `apply` is idempotent: after a crash it runs again."""

    model: int
    apply: Callable[[Target], None]


def carry_over(
    found: int, steps: Iterable[ModelStep[Target]], target: Target, stamp: Callable[[int], None]
) -> None:
    """Apply the steps that a graph of model `found` lacks, in order; `stamp` stores the model that was reached.

    Safe to repeat: each step is stamped after it is done, and a step that was cut off runs again. `SettingsError` for a
    row that cannot be read.
    """
    for step in sorted(steps, key=lambda each: each.model):
        if step.model > found:
            try:
                step.apply(target)
            except msgspec.MsgspecError as error:
                msg = f"the graph of model {found} has a row that cannot be read ({error}): it is damaged, or of another program"
                raise SettingsError(msg) from error
            stamp(step.model)
            if found:
                logger.info("graph: carried over to model %d", step.model)
    if found < MODEL:
        stamp(MODEL)


def check_model(where: str, found: int, *, oldest: int = MODEL) -> None:
    """`SettingsError`, in one line, for a graph of a newer model, or of one older than `oldest`."""
    if found > MODEL:
        msg = f"{where} has a graph of model {found}, and this release reads model {MODEL}: use the newer release"
        raise SettingsError(msg)
    if found < oldest:
        msg = f"{where} has a graph of model {found}, and this release needs model {MODEL}: run `dagmanager init`"
        raise SettingsError(msg)
