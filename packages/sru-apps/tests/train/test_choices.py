"""Wrong options are refused before any data are looked for, let alone downloaded or prepared."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks.lm.module import LanguageModelModule
from sru_apps.train.choices import check_model

WRONG = [
    ("classify", "--model.hidden_size=0", "hidden_size must be at least 1, got 0"),
    ("lm", "--model.dropout=1", "dropout must be at least 0 and less than 1, got 1.0"),
    (
        "lm",
        "--model.memory_length=4",
        "the encoder 'sru' has no option memory_length, which belongs to srupp",
    ),
    ("lm", "--model.hidden_size=50000000", "GiB, and this machine has"),
    ("lm", "--model.cutoffs=7", "cutoffs are for an adaptive embedding or output"),
    ("chat", "--model.num_heads=7", "num_heads must be a divisor of hidden_size = 256, got 7"),
    ("lm", "--optimizer.momentum=0.9", "momentum is for sgd; adamw has betas"),
    ("lm", "--trainer.precision=17", "17"),
    ("lm", "--trainer.strategy=ddpp", "ddpp"),
    ("lm", "--data.length=0", "length must be at least 1, got 0"),
]


@pytest.mark.parametrize(("task", "option", "message"), WRONG)
def test_before_the_data(
    task: str, option: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ["--recipe=sst2", f"--data-dir={tmp_path}/none"]
    if task != "classify":
        missing = [f"--train-file={tmp_path}/none"]
    assert main([task, "fit", *missing, option]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    # Without the option, the error would be the missing data.
    assert f"{tmp_path}/none" not in line


def test_the_check_draws_no_random_numbers_and_knows_no_vocabulary() -> None:
    before = torch.get_rng_state()
    options = {"output": "adaptive", "embedding": "adaptive"}
    for cutoffs in (None, (20_000, 200_000)):
        check_model(LanguageModelModule, {**options, "cutoffs": cutoffs})
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(ValueError, match=r"^cutoffs must rise, got 500, 100$"):
        check_model(LanguageModelModule, {**options, "cutoffs": (500, 100)})
