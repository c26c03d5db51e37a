from __future__ import annotations

import pytest

from sru_data.tokenizers.counting import most_frequent

COUNTS = {"c": 5, "a": 2, "b": 2, "<eos>": 1, "d": 1, "?": 9}
SPECIAL = ("-", "?")


def test_the_most_frequent_come_first_and_equal_ones_by_alphabet() -> None:
    assert list(most_frequent(COUNTS, special=SPECIAL)) == ["-", "?", "c", "a", "b", "<eos>", "d"]
    assert list(most_frequent(COUNTS, special=SPECIAL).values()) == list(range(7))


def test_some_are_kept_however_rare() -> None:
    def kept(**limits: int) -> list[str]:
        return list(most_frequent(COUNTS, special=SPECIAL, always=("<eos>",), **limits))

    assert kept(min_count=2) == ["-", "?", "c", "a", "b", "<eos>"]
    assert kept(max_size=5) == ["-", "?", "c", "a", "<eos>"]
    assert kept(max_size=7) == kept() == ["-", "?", "c", "a", "b", "<eos>", "d"]
    assert list(most_frequent({"c": 1}, special=SPECIAL, always=("<eos>",))) == ["-", "?", "c", "<eos>"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 0}, r"min_count must be at least 1, got 0"),
        ({"max_size": 2}, r"max_size must be at least 3 \(padding, unknown, a token\), got 2"),
        (
            {"max_size": 3, "always": ("<eos>",)},
            r"max_size must be at least 4 \(padding, unknown, <eos>, a token\), got 3",
        ),
        ({"min_count": 6}, r"texts must hold a token that comes 6 times or more, got none"),
    ],
)
def test_limits_that_leave_nothing_are_errors(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        most_frequent(COUNTS, special=SPECIAL, **options)
