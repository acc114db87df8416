from __future__ import annotations

from dagmanager.bounded_cache import BoundedCache


def kept(size_max: int = 10, entries_max: int = 3) -> BoundedCache[str, str]:
    return BoundedCache(size_max, entries_max)


def test_what_was_kept_is_found() -> None:
    recent = kept()
    recent.keep("a", "one", 1)
    assert (recent.get("a"), recent.get("b"), len(recent)) == ("one", None, 1)


def test_what_is_there_stays() -> None:
    recent = kept()
    recent.keep("a", "one", 1)
    recent.keep("a", "two", 1)
    assert recent.get("a") == "one"


def test_what_was_forgotten_leaves_its_room() -> None:
    recent = kept(size_max=3)
    recent.keep("a", "one", 3)
    recent.forget("a")
    recent.forget("never there")
    recent.keep("a", "two", 3)
    assert recent.get("a") == "two"


def test_the_oldest_goes_for_want_of_entries() -> None:
    recent = kept(entries_max=2)
    for name in "abc":
        recent.keep(name, name, 1)
    assert [recent.get(name) for name in "abc"] == [None, "b", "c"]


def test_as_many_go_as_a_large_one_needs() -> None:
    recent = kept(size_max=5)
    for name in "abc":
        recent.keep(name, name, 1)
    recent.keep("d", "d", 4)
    assert [recent.get(name) for name in "abcd"] == [None, None, "c", "d"]


def test_one_larger_than_all_the_room_pushes_nothing_out() -> None:
    recent = kept(size_max=5)
    recent.keep("a", "a", 1)
    recent.keep("b", "b", 6)
    assert (recent.get("a"), recent.get("b")) == ("a", None)
