from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from torch import nn

from sru_apps.training.summary import Summary, count_parameters

SUMMARY = Summary(
    dataset="sst2",
    encoder="sru",
    seed=3,
    test_accuracy=0.8251,
    validation_accuracy=0.8,
    best_epoch=5,
    epochs=12,
    seconds=99.94,
    parameters=1_234_567,
    parameters_without_embedding=4_567,
    run="runs/classify/sst2/a",
)


def test_line() -> None:
    assert SUMMARY.line() == (
        "sst2 sru: test accuracy 82.51 %, validation accuracy 80.00 % (epoch 5 of 12), 99.9 s, "
        "1,234,567 parameters, 4,567 without word vectors, runs/classify/sst2/a"
    )


def test_file(tmp_path: Path) -> None:
    SUMMARY.save(tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text()) == asdict(SUMMARY)


def test_only_trainable_parameters_count() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module[0].weight.requires_grad_(False)
    assert count_parameters(module) == 4 + 4 * 2 + 2
