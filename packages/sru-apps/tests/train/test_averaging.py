"""The averages of weights that are validated, tested and exported."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sru_apps.cli import main
from sru_apps.train.averaging import moving_average
from sru_apps.train.weights import read_checkpoint


def test_the_first_steps_count_alike_and_later_ones_more() -> None:
    weights = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layer = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    averaged = AveragedModel(layer, multi_avg_fn=moving_average(0.75))
    wanted = torch.zeros(3, dtype=torch.float64)
    for step, now in enumerate(weights, 1):
        layer.weight.data.copy_(now)
        averaged.update_parameters(layer)
        wanted = weights[:step].mean(0) if step <= 4 else 0.75 * wanted + 0.25 * now
        torch.testing.assert_close(averaged.module.weight[0].detach(), wanted)


@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_continues_with_its_averages(
    small_options: list[str],
    tmp_path: Path,
    assert_same_checkpoints: Callable[[Path, Path], None],
    run_and_stop: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    options = [*small_options, "--optimizer.average=0.9", "--checkpoint-steps=5"]
    assert main(["classify", "fit", *options, "--name=undisturbed"]) == 0
    done = run_and_stop(18, "SIGKILL", "classify", "fit", *options, "--name=killed")
    assert done.returncode == -signal.SIGKILL, done.stderr
    undisturbed, killed = (tmp_path / "runs/classify/sst2" / name for name in ("undisturbed", "killed"))
    assert main(["classify", "fit", f"--resume={killed}"]) == 0
    assert_same_checkpoints(undisturbed, killed)
    ours, theirs = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (undisturbed, killed))
    for part in ("current_model_state", "averaging_state"):
        torch.testing.assert_close(ours[part], theirs[part], rtol=0, atol=0)
    # What is tested and exported is the average, from which training does not continue.
    best = read_checkpoint(undisturbed / "checkpoints/best.ckpt")
    name = "embedding.weight"
    exported = load_file(undisturbed / "model/model.safetensors")[name]
    assert torch.equal(exported, best["state_dict"][f"network.{name}"])
    assert not torch.equal(exported, best["current_model_state"][f"network.{name}"])
    row = best["callbacks"]["History"]["rows"][-1]
    measured = json.loads((undisturbed / "summary.json").read_text())["validation"]
    assert measured["loss"] == pytest.approx(row["validation_loss"], rel=1e-6)
