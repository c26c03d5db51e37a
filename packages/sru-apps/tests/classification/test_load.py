from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.classification.load import export_classifier, load_classifier, load_module
from sru_apps.training.checkpoint_io import read_checkpoint
from sru_apps.training.errors import UserError
from sru_data.tokenizers import WordTokenizer


def test_export_and_load(trained_run: Path, tmp_path: Path) -> None:
    best = trained_run / "checkpoints/best.ckpt"
    module, _ = load_module(best)
    export_classifier(tmp_path / "model", module, load_classifier(best).tokenizer)
    loaded = load_classifier(tmp_path / "model")
    assert loaded.label_names == module.label_names == ["negative", "positive"]
    assert not loaded.network.training
    torch.testing.assert_close(loaded.network.state_dict(), module.network.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": ["one"]}, "expected 2 labels, got 1"),
        ({"labels": None}, "TypeError"),
        ({"model": {}}, "TypeError"),
        ({"encoder": "mamba"}, "unknown recurrent encoder 'mamba'"),
        ({"dropout": 2}, "dropout must be at least 0 and less than 1, got 2"),
        ({"hidden_size": "6"}, "TypeError"),
        ({"hidden_size": 7}, "hidden_size: this module has 7, the state dict 6"),
    ],
)
def test_config_that_does_not_fit(
    trained_run: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = shutil.copytree(trained_run / "model", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (key,) = change
    (config if key in config else config["model"]).update(change)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"model is damaged or is not an exported model: .*{reason}"):
        load_classifier(folder)


def test_config_without_labels(trained_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained_run / "model", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    del config["labels"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"model is damaged or is not an exported model: KeyError: 'labels'"):
        load_classifier(folder)


def test_tokenizer_of_another_model(trained_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained_run / "model", tmp_path / "model")
    WordTokenizer.train(["two words"]).save(folder / "tokenizer.json")
    with pytest.raises(UserError, match=r"expected a tokenizer of \d+ words, got 4"):
        load_classifier(folder)


@pytest.mark.parametrize("part", ["hyper_parameters", "state_dict", "SentenceData"])
def test_checkpoint_with_a_wrong_part(trained_run: Path, tmp_path: Path, part: str) -> None:
    checkpoint = read_checkpoint(trained_run / "checkpoints/best.ckpt")
    torch.save({**checkpoint, part: {}}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"x.ckpt is damaged or is not a checkpoint: "):
        load_classifier(tmp_path / "x.ckpt")
