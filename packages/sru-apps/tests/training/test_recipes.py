from __future__ import annotations

import pytest

from sru_apps.training.errors import UserError
from sru_apps.training.recipes import recipe_names, recipe_path

PACKAGE = "sru_apps.classification"


def test_names() -> None:
    assert recipe_names(PACKAGE) == ["cr", "mpqa", "mr", "sst1", "sst2", "subj", "trec"]


def test_path() -> None:
    assert recipe_path(PACKAGE, "trec").read_text().startswith("# Question types")


def test_unknown_recipe_is_answered_with_the_valid_ones() -> None:
    expected = (
        r"unknown recipe 'sst3'\. Did you mean 'sst\d'\? Valid recipes: cr, mpqa, mr, sst1, sst2, subj, trec"
    )
    with pytest.raises(UserError, match=expected):
        recipe_path(PACKAGE, "sst3")


def test_recipe_is_not_a_path() -> None:
    with pytest.raises(UserError, match=r"unknown recipe '../recipes/sst2'"):
        recipe_path(PACKAGE, "../recipes/sst2")
