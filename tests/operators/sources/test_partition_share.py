from __future__ import annotations

import pytest

from dagmanager.errors import SettingsError
from operators.sources.partition_share import PartitionShare


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0, 1, 2, 3, 4, 5]),
        ("0-3", [0, 1, 2, 3]),
        ("5, 1-2", [1, 2, 5]),
        ("3,3,2-4", [2, 3, 4]),
        ("0/1", [0, 1, 2, 3, 4, 5]),
        ("1/4", [1, 5]),
        ("6/7", []),
    ],
)
def test_a_share_names_partitions(text: str, expected: list[int]) -> None:
    assert PartitionShare(text).of(6, "t") == expected


@pytest.mark.parametrize("text", ["x", "1-", "-1", "3-1", "2/2", "0/0", "6", "0-6", "1;2", "9999999"])
def test_an_invalid_share_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="submissions_partitions"):
        PartitionShare(text).of(6, "t")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equal_shares_cover_everything_once(count: int) -> None:
    shares = [PartitionShare(f"{index}/{count}").of(6, "t") for index in range(count)]
    assert sorted(number for share in shares for number in share) == list(range(6))
