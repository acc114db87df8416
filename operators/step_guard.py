"""Runs every step of the flow under quarantine and retry, and lets items pass that a step does not work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar, cast

import bytewax.operators as op
from bytewax.operators import KeyedStream

from dagmanager.dag.model import Origin
from operators.poison_quarantine import FlowItem, PoisonQuarantine, origin_of
from operators.store_retry import RetryPolicy

X = TypeVar("X", bound=FlowItem)
Y = TypeVar("Y")
Z = TypeVar("Z")
# Items that pass unchanged. The type checker cannot subtract their type from the union, hence the casts.
P = TypeVar("P", bound=FlowItem)


@dataclass(frozen=True)
class StepGuard:
    """Adds steps to a flow. Items of the types in `passing` leave a step unchanged, at their place in the order.

    The records that a step works on are marked as in flight under the step's id (`PoisonQuarantine`).
    """

    quarantine: PoisonQuarantine
    retry: RetryPolicy

    def each(
        self,
        step_id: str,
        up: KeyedStream[X | P],
        work: Callable[[X], Iterable[Y]],
        passing: type[P] | tuple[type[P], ...] = (),
    ) -> KeyedStream[Y | P]:
        """A step that works on one item at a time and gives any number of items for it; for work that calls no store.

        It has no retry: what `work` raises ends the run.
        """
        guarded = self.quarantine.each(step_id, work, origin_of)

        def batch(items: list[tuple[str, X | P]]) -> Iterable[tuple[str, Y | P]]:
            found: list[tuple[str, Y | P]] = []
            for key, item in items:
                if isinstance(item, passing):
                    found.append((key, item))
                else:
                    found += [(key, each) for each in guarded(cast(X, item))]
            return found

        return op.flat_map_batch(step_id, up, batch)

    def batches(
        self,
        step_id: str,
        up: KeyedStream[X | P],
        work: Callable[[list[X]], list[Y]],
        passing: type[P] | tuple[type[P], ...] = (),
        name: str = "",
    ) -> KeyedStream[Y | P]:
        """A step that works on the whole micro-batch and gives one item for each, in order.

        `work` is called again with the same items while it raises `UnavailableError`, so it must be idempotent; the worker
        blocks meanwhile, and the offset stays. `name` replaces the step's id in markers, logs and waits.
        """
        name = name or step_id
        guarded = self.batch_work(name, work, origin_of)

        def batch(items: list[tuple[str, X | P]]) -> Iterable[tuple[str, Y | P]]:
            taken = [cast(X, item) for _, item in items if not isinstance(item, passing)]
            results = iter(guarded(taken) if taken else ())
            return [(key, item if isinstance(item, passing) else next(results)) for key, item in items]

        return op.flat_map_batch(step_id, up, batch)

    def batch_work(
        self, name: str, work: Callable[[list[Z]], list[Y]], origin_of: Callable[[Z], Origin | None]
    ) -> Callable[[list[Z]], list[Y]]:
        """`work` under quarantine and retry as in `batches`, for a caller that is no step; `name` as there."""
        return self.quarantine.batches(name, work, origin_of, self.retry.in_step(name))
