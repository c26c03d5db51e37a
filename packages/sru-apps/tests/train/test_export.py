from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sru_apps.train.errors import UserError
from sru_apps.train.export import export_model, read_export, read_exported_tokenizer
from sru_data.tokenizers import CharTokenizer

CONFIG = {"task": "classify", "labels": ["a", "ä"]}


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    network = nn.Linear(2, 3, bias=False)
    network.weight.data = torch.arange(6.0).view(2, 3).t()
    network.again = nn.Linear(2, 3, bias=False)
    network.again.weight = network.weight
    export_model(tmp_path / "model", network, CONFIG, CharTokenizer.train(["abc"]))
    return tmp_path / "model"


def test_round_trip(exported: Path) -> None:
    weights, config = read_export(exported, task="classify")
    torch.testing.assert_close(weights, {"weight": torch.arange(6.0).view(2, 3).t()})
    assert config == CONFIG
    assert read_exported_tokenizer(exported).encode("abc") == CharTokenizer.train(["abc"]).encode("abc")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(exported: Path, name: str) -> None:
    (exported / name).unlink()
    with pytest.raises(UserError, match=f"is not an exported model: {name} is missing"):
        read_export(exported, task="classify")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_damaged_file(exported: Path, name: str) -> None:
    (exported / name).write_bytes((exported / name).read_bytes()[:20])
    with pytest.raises(UserError, match=f"{name} is damaged or is not a "):
        read_export(exported, task="classify")


def test_another_task(exported: Path) -> None:
    expected = "config.json was made by `sru classify`; expected one made by `sru translate`"
    with pytest.raises(UserError, match=expected):
        read_export(exported, task="translate")


def test_no_task(exported: Path) -> None:
    (exported / "config.json").write_text("[]")
    with pytest.raises(UserError, match="was made by no task of this program"):
        read_export(exported, task="classify")


def test_a_task_of_any_length_is_cut_off(exported: Path) -> None:
    (exported / "config.json").write_text('{"task": "' + "x" * 10**5 + '"}')
    with pytest.raises(UserError, match=r"was made by `sru x{40} \.\.\.`") as raised:
        read_export(exported, task="classify")
    assert len(str(raised.value)) < 500
