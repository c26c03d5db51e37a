from __future__ import annotations

import math

import pytest

from sru_apps.tasks.lm.figures import FIGURE, figures
from sru_apps.tasks.lm.module import LanguageModelModule
from sru_data.token_files import TextCounts


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("words", {"loss": 2.0, "perplexity": math.exp(2)}),
        ("characters", {"loss": 2.0, "bits_per_character": 2 / math.log(2)}),
        ("bytes", {"loss": 2.0, "bits_per_byte": 2 / math.log(2)}),
        ("subwords", {"loss": 2.0, "perplexity": math.exp(2), "word_perplexity": math.exp(200 / 40)}),
    ],
)
def test_figures_of_each_unit(unit, expected):
    found = figures(unit, 200.0, 100, TextCounts(tokens=101, words=30, lines=10))
    assert found == pytest.approx(expected)
    assert FIGURE[unit] in found


def test_subwords_without_counts():
    assert "word_perplexity" not in figures("subwords", 200.0, 100)


def test_perplexity_overflows_to_infinity():
    assert figures("words", 1e6, 1)["perplexity"] == math.inf
    assert math.isnan(figures("words", 0.0, 0)["loss"])


describe = LanguageModelModule.describe


def test_describe():
    assert describe(None, {"loss": 4.5, "perplexity": 90.017}) == "perplexity 90.02, loss 4.5000"
    assert describe(None, {"loss": 1.0, "bits_per_byte": 1.4427}) == "1.443 bits per byte, loss 1.0000"
