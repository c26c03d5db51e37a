from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sru_apps.tasks.classify import TASK
from sru_apps.train.errors import UserError
from sru_apps.train.options import peek, recipe_names, recipe_path, with_settings
from sru_apps.train.yaml_files import read_settings


def test_recipes() -> None:
    assert recipe_names(TASK) == ["cr", "mpqa", "mr", "sst1", "sst2", "subj", "trec"]
    assert recipe_path(TASK, "trec").read_text().startswith("# Question types")


@pytest.mark.parametrize(
    ("name", "suggestion"), [("sst3", r" Did you mean 'sst\d'\?"), ("../recipes/sst2", "")]
)
def test_unknown_recipe_is_answered_with_the_valid_ones(name: str, suggestion: str) -> None:
    expected = rf"unknown recipe '{name}'\.{suggestion}.* Valid recipes: cr, mpqa, mr, sst1, sst2, subj, trec"
    with pytest.raises(UserError, match=expected):
        recipe_path(TASK, name)


def test_files_may_use_former_names(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    former = {
        "seed": 3,
        "seed_everything": 3,
        "encoder": "gru",
        "data_dir": None,
        "data": {"name": "sst2"},
        "optimizer": {"learning_rate": 0.5, "amsgrad": False, "fused": True},
    }
    path.write_text(yaml.safe_dump(former))
    with pytest.warns(UserWarning, match=r"optimizer.learning_rate is now optimizer.lr") as warned:
        settings = read_settings(path)
    assert len(warned) == 1
    assert settings == {
        "seed": 3,
        "data": {"name": "sst2"},
        "model": {"encoder": "gru"},
        "optimizer": {"lr": 0.5},
    }
    path.write_text(yaml.safe_dump(settings))
    assert read_settings(path) == settings


def test_former_options_that_would_change_the_result_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("optimizer: {amsgrad: true}")
    with pytest.raises(UserError, match=r"optimizer.amsgrad is no longer an option, got True; leave it out"):
        read_settings(path)


@pytest.mark.parametrize("content", ["a: [", "just words"])
def test_files_that_hold_no_settings(tmp_path: Path, content: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"settings.yaml is damaged or is not a file of options"):
        read_settings(path)


def test_a_file_of_options_that_names_another_one(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("config: other.yaml")
    with pytest.raises(UserError, match=r"a file of options may not name another one in config"):
        read_settings(path)


def test_a_missing_file_of_options(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.yaml is not a file; give --config a YAML file of options"):
        read_settings(tmp_path / "none.yaml")


def test_a_group_that_holds_no_options(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("optimizer: adamw")
    with pytest.raises(UserError, match=r"optimizer must hold options as NAME: VALUE, got 'adamw'"):
        read_settings(path)


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("seed_everything: 3", {"seed": 3}),
        ("seed_everything: 3\nseed: 4", {"seed": 4}),
        ("seed_everything: true", {}),
    ],
)
def test_the_seed_under_its_former_name(tmp_path: Path, content: str, settings: dict[str, Any]) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    assert read_settings(path) == settings


def test_the_present_name_of_an_option_wins(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("optimizer: {lr: 0.1, learning_rate: 0.01}")
    with pytest.warns(UserWarning, match=r"optimizer.learning_rate is now optimizer.lr"):
        assert read_settings(path) == {"optimizer": {"lr": 0.1}}


def test_files_of_the_command_line_are_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("seed: 3")
    args = ["--encoder", "gru", "--data-dir=x", "--config", str(path), "--seed=4"]
    assert with_settings(args, None) == [
        *["--encoder", "gru", "--data-dir=x", "--config", "seed: 3\n", "--seed=4"]
    ]
    # Values with the names of option groups.
    named = ["--data-dir", "data", "--name", "model", "--runs-dir", "trainer"]
    assert with_settings(named, None) == named
    assert with_settings(["--seed=4"], path) == ["--config", "seed: 3\n", "--seed=4"]
    assert with_settings(["-c", str(path)], None) == ["--config", "seed: 3\n"]
    with pytest.warns(UserWarning, match=r"^--optimizer.learning_rate is now --optimizer.lr$"):
        assert with_settings(["--optimizer.learning_rate=1"], None) == ["--optimizer.lr=1"]


@pytest.mark.parametrize(
    ("args", "value"),
    [
        (["--a", "1"], "1"),
        (["--a=1"], "1"),
        (["--a", "1", "--a=2"], "2"),
        (["--ab", "1"], None),
        (["--a"], None),
    ],
)
def test_peek(args: list[str], value: str | None) -> None:
    assert peek(args, "--a") == value


def test_files_of_your_own_replace_the_data_of_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("data: {name: ptb, length: 35}")
    for args in (["--train-file", "x"], ["--data.train_file=x"]):
        assert with_settings(args, path) == ["--config", "data:\n  length: 35\n", *args]


def test_peek_at_an_option_of_a_group() -> None:
    assert peek(["--fold", "3"], "--data.fold") == "3"
    assert peek(["--fold=3", "--data.fold", "4"], "--data.fold") == "4"
    assert peek(["--folds", "3"], "--data.fold") is None
