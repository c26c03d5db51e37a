"""Two processes train like one process that accumulates the gradients of two batches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.train.weights import read_checkpoint

from ...fork_server import Forked, as_torchrun_does, assert_went_well

pytest.importorskip("sacrebleu", reason="BLEU is computed by sacrebleu")


@pytest.mark.usefixtures("one_thread")
def test_two_processes_are_one_with_two_batches_per_step(
    options: list[str], tmp_path: Path, forked: Forked
) -> None:
    # An even number of batches, so that every step has two.
    own = [*options, "--data.max_tokens=34", "--model.dropout=0", "--optimizer.schedule=cosine"]
    assert main(["translate", "fit", *own, "--trainer.accumulate_grad_batches=2", "--name=one"]) == 0
    two = ["translate", "fit", *own, "--trainer.strategy=ddp", "--trainer.devices=2", "--name=two"]
    (tmp_path / "ends").write_text(json.dumps(forked(as_torchrun_does(two, tmp_path))))
    assert_went_well(tmp_path)
    one, other = (tmp_path / "runs/translate/train" / name for name in ("one", "two"))
    checkpoints = [read_checkpoint(run / "checkpoints/last.ckpt") for run in (one, other)]
    assert checkpoints[0]["global_step"] == checkpoints[1]["global_step"] > 4
    torch.testing.assert_close(*(found["state_dict"] for found in checkpoints), rtol=1e-4, atol=1e-5)
    figures = [json.loads((run / "summary.json").read_text()) for run in (one, other)]
    for part in ("validation", "test"):
        assert figures[0][part] == pytest.approx(figures[1][part], rel=1e-5)
