"""`sru TASK fit --seeds` and `sru classify crossval`."""

from __future__ import annotations

import json
import shutil
import signal
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks.classify.module import ClassifierModule
from sru_data.datasets import classification

pytestmark = pytest.mark.usefixtures("one_thread")

Same = Callable[[Path, Path], None]


@pytest.fixture(scope="module", autouse=True)
def _tiny_cr() -> Iterator[None]:
    """Two folds of a CR with any number of lines."""
    source = classification.SOURCES["cr"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(classification.SOURCES, "cr", replace(source, train=replace(source.train, lines=None)))
        patch.setattr(classification, "NUM_FOLDS", 2)
        yield


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options for a run of half a second: one epoch of 5 steps."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "classification").mkdir()
    words = ("good", "bad", "so", "the", "phone", "screen")
    lines = [f"{number % 2} {words[1 - number % 2]} {words[number % 6]} {number}" for number in range(44)]
    (folder / "classification/custrev.all").write_text("\n".join(lines) + "\n")
    sizes = [
        "--data.embedding_size=4",
        "--data.batch_size=4",
        "--model.hidden_size=3",
        "--model.num_layers=1",
    ]
    return [
        "--data.name=cr",
        f"--data-dir={folder}",
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        *sizes,
    ]


@pytest.fixture(scope="module")
def folds(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted cross-validation; read-only."""
    runs = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(["classify", "crossval", *options, f"--runs-dir={runs}", "--name=whole"]) == 0
    torch.set_num_threads(threads)
    return runs / "classify/cr/whole"


def content(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_fold_is_tested(folds: Path, options: list[str]) -> None:
    summary = content(folds / "crossval.json")
    assert [(row["run"], row["fold"]) for row in summary["runs"]] == [("fold-0", 0), ("fold-1", 1)]
    accuracies = [content(folds / f"fold-{k}/summary.json")["test_accuracy"] for k in (0, 1)]
    assert summary["mean"]["test"]["accuracy"] == pytest.approx(statistics.mean(accuracies))
    assert summary["standard_deviation"]["test"]["accuracy"] == pytest.approx(statistics.stdev(accuracies))
    tested = [content(folds / f"fold-{k}/figures/classes.json")["examples"] for k in (0, 1)]
    assert tested == [22, 22]


def test_an_interrupted_cross_validation_equals_an_undisturbed_one(
    folds: Path,
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stop_before: Callable[[int, signal.Signals], None],
    assert_same_checkpoints: Same,
) -> None:
    group = tmp_path / "classify/cr/parts"
    crossval = ["classify", "crossval"]
    stop_before(2, signal.SIGINT)
    assert main([*crossval, *options, f"--runs-dir={tmp_path}", "--name=parts"]) == 130
    assert f"Interrupted. Continue with: sru classify crossval --resume {group}" in capsys.readouterr().out
    assert not (group / "crossval.json").exists()

    training_step = ClassifierModule.training_step

    def step_or_die(self: ClassifierModule, *args: Any) -> torch.Tensor:
        if self.trainer.global_step == 1 and (group / "fold-0/summary.json").exists():
            raise ZeroDivisionError
        return training_step(self, *args)

    with monkeypatch.context() as patch:
        # The first fold is resumed; the second dies during training, as if killed.
        patch.setattr(ClassifierModule, "training_step", step_or_die)
        with pytest.raises(ZeroDivisionError):
            main([*crossval, f"--resume={group}"])
    assert (group / "fold-1/config.yaml").is_file()
    capsys.readouterr()
    assert main([*crossval, *options, f"--runs-dir={tmp_path}", "--name=parts"]) == 0
    shown = capsys.readouterr().out
    assert f"{group / 'fold-0'} is finished" in shown
    assert "macro mean" not in shown
    assert sum(line.startswith("cr sru: test accuracy ") for line in shown.splitlines()) == 1
    for name in ("fold-0", "fold-1"):
        assert_same_checkpoints(group / name, folds / name)
    ours, theirs = (content(path / "crossval.json") for path in (group, folds))
    assert ours == theirs


def test_ctrl_c_between_folds(
    folds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Path(shutil.copytree(folds, tmp_path / "between"))
    shutil.rmtree(group / "fold-1")

    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(classification, "load", interrupt)
        assert main(["classify", "crossval", f"--resume={group}"]) == 130
    assert f"sru classify crossval --resume {group}" in capsys.readouterr().out
    assert main(["classify", "crossval", f"--resume={group}"]) == 0
    assert content(group / "crossval.json") == content(folds / "crossval.json")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "--optimizer.lr=0.5",
            r"fold-0 was trained with lr=0.001, not 0.5; give the same options, or another",
        ),
        ("--trainer.max_epochs=2", "fold-0 was trained with max_epochs=1, not 2"),
        ("--seed=1", "fold-0 was trained with seed=0, not 1"),
        ("--data.fold=1", "cross-validation trains on every fold; leave --data.fold out"),
        ("--seeds=2", "cross-validation trains with one seed at a time; leave --seeds out"),
    ],
)
def test_other_options_are_refused(
    folds: Path, more: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folds.rglob("*")}
    assert main(["classify", "crossval", f"--resume={folds}", more]) == 1
    assert message in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folds.rglob("*")} == before


def test_a_set_with_a_test_set_has_no_folds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "crossval", "--recipe=trec"]) == 1
    assert "trec has a test set of its own and no folds; train on it with: sru" in capsys.readouterr().err


def test_a_folder_without_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "crossval", f"--resume={tmp_path}"]) == 1
    assert f"no cross-validation at {tmp_path}; give the folder with" in capsys.readouterr().err


def test_a_run_of_several_seeds_is_that_of_its_seed(
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    assert_same_checkpoints: Same,
) -> None:
    group = tmp_path / "classify/cr"
    own = [*options, f"--runs-dir={tmp_path}"]
    seeds = ["classify", "fit", *own, "--seed=3", "--name=x", "--seeds", "2"]
    assert main(seeds) == 0
    assert "cr sru, 2 seeds: test accuracy " in capsys.readouterr().out
    assert [row["seed"] for row in content(group / "x-seeds.json")["runs"]] == [3, 4]
    assert main(["classify", "fit", *own, "--seed=4", "--name=alone"]) == 0
    assert_same_checkpoints(group / "x-seed-4", group / "alone")
    assert (group / "x-seed-4/model/model.safetensors").read_bytes() == (
        group / "alone/model/model.safetensors"
    ).read_bytes()
    capsys.readouterr()
    # The single run repeats one of the others; each is counted once.
    assert main(["classify", "table", *map(str, group.iterdir()), str(group / "alone/")]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[2].startswith("| cr | sru | ")
    assert " | 2 | " in output.out
    assert "alone is left out: it is given twice" in output.err
    assert "with the same settings and seed" in output.err


def test_seeds_are_not_resumed(folds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "fit", f"--resume={folds / 'fold-0'}", "--seeds=2"]) == 1
    assert "--resume continues one run; to continue those of --seeds, give their" in capsys.readouterr().err


def test_an_interrupted_series_that_starts_from_a_model_is_continued(
    folds: Path,
    options: list[str],
    tmp_path: Path,
    stop_before: Callable[[int, signal.Signals], None],
    assert_same_checkpoints: Same,
) -> None:
    own = [*options, f"--runs-dir={tmp_path}", "--seeds=2", "--init-from", str(folds / "fold-0")]
    assert main(["classify", "fit", *own, "--name=whole"]) == 0
    stop_before(2, signal.SIGINT)
    assert main(["classify", "fit", *own, "--name=parts"]) == 130
    assert main(["classify", "fit", *own, "--name=parts"]) == 0
    group = tmp_path / "classify/cr"
    for seed in (0, 1):
        assert_same_checkpoints(group / f"whole-seed-{seed}", group / f"parts-seed-{seed}")


@pytest.mark.parametrize("command", [["fit", "--seeds=2"], ["crossval"]])
def test_the_learning_rate_of_a_series_is_not_looked_for(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main(["classify", *command, *options, f"--runs-dir={tmp_path}", "--find-lr"]) == 1
    assert "--find-lr is for one run, got 2 " in capsys.readouterr().err
    assert not (tmp_path / "classify").exists()


def test_seeds_in_a_file(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text("seeds: 2\n")
    assert main(["classify", "fit", *options, f"--config={tmp_path / 'x.yaml'}"]) == 1
    assert "--seeds may not be set in a config file; give it on the" in capsys.readouterr().err


def test_a_series_is_trained_by_one_process(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--trainer.devices=2", "--trainer.strategy=ddp", f"--runs-dir={tmp_path}"]
    assert main(["classify", "fit", *options, "--seeds=2", *more]) == 1
    assert "the runs of a series are trained in one process, got 2; give" in capsys.readouterr().err
    assert not (tmp_path / "classify").exists()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "crossval", "--help"]) == 0
    assert "Train and test on each of ten folds" in capsys.readouterr().out
