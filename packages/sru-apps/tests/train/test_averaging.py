"""The averages of weights that are validated, tested and exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sru_apps.cli import main
from sru_apps.task import load
from sru_apps.train.averaging import moving_average
from sru_apps.train.errors import UserError
from sru_apps.train.fit import Fit
from sru_apps.train.weights import read_checkpoint


def test_the_beginning_is_forgotten_first() -> None:
    weights = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layer = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    averaged = AveragedModel(layer, multi_avg_fn=moving_average(0.3))
    wanted = weights[0]
    for kept, now in zip((0.0, 2 / 11, 3 / 12, 0.3, 0.3, 0.3), weights, strict=True):
        layer.weight.data.copy_(now)
        averaged.update_parameters(layer)
        wanted = kept * wanted + (1 - kept) * now
        torch.testing.assert_close(averaged.module.weight[0].detach(), wanted)


def test_averages_are_validated_tested_and_exported(small_options: list[str], tmp_path: Path) -> None:
    assert main(["classify", "fit", *small_options, "--optimizer.average=0.9", "--name=run"]) == 0
    run = tmp_path / "runs/classify/sst2/run"
    best, last = (read_checkpoint(run / f"checkpoints/{name}.ckpt") for name in ("best", "last"))
    exported = load_file(run / "model/model.safetensors")["embedding.weight"]
    assert torch.equal(exported, best["state_dict"]["network.embedding.weight"])
    assert not torch.equal(exported, best["current_model_state"]["network.embedding.weight"])
    row = best["callbacks"]["History"]["rows"][-1]
    measured = json.loads((run / "summary.json").read_text())["validation"]
    assert measured["loss"] == pytest.approx(row["validation_loss"], rel=1e-6)
    # A run that averages its weights must be resumed with the same averaging.
    del last["current_model_state"]
    torch.save(last, run / "checkpoints/last.ckpt")
    with pytest.raises(UserError, match="lacks 'current_model_state', although its run averages"):
        train_on(run, "--trainer.max_epochs=4")
    with pytest.raises(UserError, match=r"was trained with average=0\.9, not 0\.5; continue with"):
        train_on(run, "--trainer.max_epochs=4", "--optimizer.average=0.5")


def train_on(run: Path, *options: str) -> None:
    Fit(load("sru_apps.tasks.classify:TASK"), [f"--resume={run}", *options]).train()


def test_shards_have_no_averages(small_options: list[str]) -> None:
    options = [*small_options, "--optimizer.average=0.9", "--trainer.strategy=fsdp", "--trainer.devices=1"]
    with pytest.raises(UserError, match=r"--optimizer\.average needs whole weights, which fsdp shards"):
        Fit(load("sru_apps.tasks.classify:TASK"), options)
