"""Two processes train like one process that accumulates the gradients of two batches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.train.weights import read_checkpoint

from ...fork_server import Forked, as_torchrun_does

pytest.importorskip("jiwer", reason="error rates are computed by jiwer")


@pytest.mark.usefixtures("one_thread")
def test_two_processes_equal_one_with_two_batches_per_step(
    options: list[str], tmp_path: Path, forked: Forked
) -> None:
    # No masks and no dropout, since each process samples its own.
    common = ["speech", "fit", *options, "--model.time_masks=0", "--model.dropout=0"]
    assert main([*common, "--trainer.accumulate_grad_batches=2", "--name=one"]) == 0
    two = [*common, "--trainer.strategy=ddp", "--trainer.devices=2", "--name=two"]
    ends = forked(as_torchrun_does(two, tmp_path))
    assert ends == [0, 0], (tmp_path / "0.err").read_text()
    runs = tmp_path / "runs/speech/an4"
    one, other = (read_checkpoint(runs / name / "checkpoints/last.ckpt") for name in ("one", "two"))
    assert one["global_step"] == other["global_step"] == 4
    torch.testing.assert_close(other["state_dict"], one["state_dict"], rtol=1e-4, atol=1e-5)
    figures = [json.loads((runs / name / "summary.json").read_text()) for name in ("one", "two")]
    for part in ("validation", "test"):
        assert figures[1][part] == pytest.approx(figures[0][part], rel=1e-4)
    shown = [(tmp_path / str(rank)).read_text().count("an4 sru: test WER") for rank in (0, 1)]
    assert shown == [1, 0], "only one process may print the summary"
