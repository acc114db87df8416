from __future__ import annotations

from dagmanager.bounded_cache import BoundedCache


def cache(size_max: int = 10, entries_max: int = 3) -> BoundedCache[str, str]:
    return BoundedCache(size_max, entries_max)


def test_an_entry_is_found_by_its_key() -> None:
    found = cache()
    found.put("a", "one", 1)
    found.put("b", "two", 1)
    assert (found.get("a"), found.get("c"), len(found)) == ("one", None, 2)
    assert found.get_many("abc") == {"a": "one", "b": "two"}


def test_a_new_value_replaces_the_old_one_and_counts_as_newest() -> None:
    found = cache(size_max=3)
    found.put("a", "one", 1)
    found.put("b", "b", 1)
    found.put("a", "two", 2)
    assert found.get_many("ab") == {"a": "two", "b": "b"}
    found.put("c", "c", 1)
    assert found.get_many("abc") == {"a": "two", "c": "c"}


def test_several_values_at_once_are_kept_as_one_by_one() -> None:
    at_once, one_by_one = cache(size_max=4), cache(size_max=4)
    values = {name: name for name in "abcd"}
    at_once.put_many(values, 2)
    for name in values:
        one_by_one.put(name, name, 2)
    assert at_once.get_many("abcd") == one_by_one.get_many("abcd") == {"c": "c", "d": "d"}
    at_once.put_many({"c": "new", "e": "e"}, 2)
    assert at_once.get_many("abcde") == {"c": "new", "e": "e"}


def test_a_hit_does_not_make_an_entry_newer() -> None:
    found = cache(entries_max=2)
    for name in "ab":
        found.put(name, name, 1)
    assert found.get("a") == "a"
    found.put("c", "c", 1)
    assert found.get_many("abc") == {"b": "b", "c": "c"}


def test_a_discarded_entry_frees_its_size() -> None:
    found = cache(size_max=3)
    found.put("a", "one", 3)
    found.discard("a")
    found.discard("unknown")
    found.put("b", "two", 3)
    assert found.get_many("ab") == {"b": "two"}


def test_clearing_frees_all_sizes() -> None:
    found = cache(size_max=3)
    found.put("a", "one", 3)
    found.clear()
    found.put("b", "two", 3)
    assert found.get_many("ab") == {"b": "two"}


def test_the_oldest_entry_is_dropped_when_there_are_too_many() -> None:
    found = cache(entries_max=2)
    for name in "abc":
        found.put(name, name, 1)
    assert found.get_many("abc") == {"b": "b", "c": "c"}


def test_as_many_entries_are_dropped_as_a_large_one_needs() -> None:
    found = cache(size_max=5)
    for name in "abc":
        found.put(name, name, 1)
    found.put("d", "d", 4)
    assert found.get_many("abcd") == {"c": "c", "d": "d"}


def test_a_value_larger_than_the_cache_drops_no_other_entry() -> None:
    found = cache(size_max=5)
    found.put("a", "a", 1)
    found.put("b", "b", 6)
    assert found.get_many("ab") == {"a": "a"}
