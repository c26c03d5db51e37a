"""Diverging training is reported once, and non-finite values are never used as results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks.classify.module import ClassifierModule
from sru_apps.train.strict_json import dump_json
from sru_apps.train.weights import read_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def validate_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the validation accuracy by given figures, one per epoch."""

    def replace(*figures: float) -> None:
        rest = iter(figures)

        def validation_step(self: ClassifierModule, batch: object, batch_idx: int) -> None:
            stage = "test" if self.trainer.testing else "validation"
            value = next(rest) if self.trainer.state.fn == "fit" else 0.5
            for name in ("loss", "accuracy"):
                self.log(f"{stage}_{name}", torch.tensor(value), batch_size=1, logger=False)

        monkeypatch.setattr(ClassifierModule, "validation_step", validation_step)
        monkeypatch.setattr(ClassifierModule, "test_step", validation_step)

    return replace


def fit(options: list[str], *more: str) -> int:
    return main(["classify", "fit", *options, "--name=one", *more])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs/classify/sst2/one"


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("figures", "best"), [((math.nan, 0.25, 0.5), 3), ((math.nan, 0.5, 0.25), 2), ((math.inf, 0.5, 0.5), 2)]
)
def test_a_figure_that_is_not_finite_is_never_best(
    small_options: list[str],
    run: Path,
    validate_with: Callable[..., None],
    figures: tuple[float, ...],
    best: int,
) -> None:
    validate_with(*figures)
    assert fit(small_options) == 0
    assert json.loads((run / "summary.json").read_text())["best_epoch"] == best
    assert read_checkpoint(run / "checkpoints/best.ckpt")["epoch"] == best - 1


def test_the_best_of_a_former_version_is_beaten(run: Path, small_options: list[str]) -> None:
    assert fit(small_options, "--trainer.max_epochs=1") == 0
    last = read_checkpoint(run / "checkpoints/last.ckpt")
    last["callbacks"]["RunCheckpoints"] = {"best_score": math.nan, "best_epoch": 0}
    torch.save(last, run / "checkpoints/last.ckpt")
    assert main(["classify", "fit", f"--resume={run}", "--trainer.max_epochs=2"]) == 0
    assert json.loads((run / "summary.json").read_text())["best_epoch"] == 2


@pytest.mark.parametrize(("more", "step"), [([], 12), (["--checkpoint-steps=5"], 5)])
def test_an_infinite_loss_ends_the_run_and_exports_nothing(
    small_options: list[str], run: Path, more: list[str], step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(small_options, "--optimizer.lr=1e30", "--optimizer.weight_decay=0", *more) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: the training has diverged: by step {step} its loss is not finite. Try a lower" in line
    assert not (run / "model").exists()
    assert not (run / "summary.json").exists()
    assert not (run / "checkpoints/last.ckpt").exists()


def test_a_run_may_be_told_to_diverge(
    small_options: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--optimizer.lr=1e30", "--optimizer.weight_decay=0", "--allow-divergence"]
    with pytest.warns(UserWarning, match=r"^the training has diverged: no epoch had finite figures$"):
        assert fit(small_options, *more) == 0
    assert not (run / "model").exists()
    assert main(["classify", "predict", f"--model={run / 'checkpoints/last.ckpt'}", "fun"]) == 1
    assert "holds values that are not finite: its training diverged" in capsys.readouterr().err


def test_a_validation_that_ends_in_nan_exports_only_what_it_is_told_to(
    small_options: list[str],
    run: Path,
    validate_with: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    validate_with(0.5, 0.25, math.nan)
    assert fit(small_options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{run}/checkpoints/best.ckpt is of the last epoch that had finite figures. Nothing is" in line
    assert not (run / "model").exists()
    with pytest.warns(UserWarning, match=r"best.ckpt is of the last epoch that had finite figures"):
        assert main(["classify", "fit", f"--resume={run}", "--allow-divergence"]) == 0
    assert json.loads((run / "summary.json").read_text())["best_epoch"] == 1


def _spoil(weights: dict[str, torch.Tensor], value: float) -> None:
    next(weight for weight in weights.values() if weight.is_floating_point()).view(-1)[0] = value


@pytest.fixture
def spoilt(trained_run: Path, tmp_path: Path) -> Iterator[str]:
    checkpoint = read_checkpoint(trained_run / "checkpoints/best.ckpt")
    _spoil(checkpoint["state_dict"], math.inf)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    return str(tmp_path / "x.ckpt")


def test_weights_that_are_not_finite_are_not_used(spoilt: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "predict", f"--model={spoilt}", "fun"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{spoilt}: network.embedding.weight holds values that are not finite" in line


def test_json_knows_no_nan() -> None:
    value = {"a": [math.nan, 1.5, (math.inf,)], "b": {"c": -math.inf}, "ü": "nan", "d": None}
    assert dump_json(value) == '{"a": [null, 1.5, [null]], "b": {"c": null}, "ü": "nan", "d": null}'


def test_figures_that_are_not_finite_are_null(
    spoilt: str, capsys: pytest.CaptureFixture[str], tiny_data: Path
) -> None:
    checkpoint = read_checkpoint(Path(spoilt))
    for weight in checkpoint["state_dict"].values():
        weight.fill_(math.nan)
    torch.save(checkpoint, spoilt)
    assert main(["classify", "test", spoilt, "--json", f"--data-dir={tiny_data}"]) == 0
    shown = capsys.readouterr().out
    assert "NaN" not in shown
    assert json.loads(shown)["loss"] is None
