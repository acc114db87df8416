from __future__ import annotations

import inspect

import pytest

from dagmanager.engine.model.observer import Observer, Observers

EVENTS = [name for name, _ in inspect.getmembers(Observer, inspect.isfunction) if not name.startswith("_")]


class Recorder(Observer):
    """Notes every event with its arguments."""

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple[object, ...]]] = []

    def __getattribute__(self, name: str) -> object:
        if name in EVENTS:
            return lambda *given: self.events.append((name, given))
        return super().__getattribute__(name)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_reaches_every_observer_with_its_arguments(event: str) -> None:
    """Also events that are added later: the fan-out must not miss one."""
    first, second = Recorder(), Recorder()
    given = tuple(object() for _ in list(inspect.signature(getattr(Observer, event)).parameters)[1:])
    getattr(Observers(first, second), event)(*given)
    assert first.events == second.events == [(event, given)]


def test_all_events_are_tried() -> None:
    assert {"answered", "foreign", "hashed", "refused", "tag_query", "lost", "waiting"} <= set(EVENTS)
