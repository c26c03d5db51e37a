from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from sru_apps.cli import main
from sru_apps.tasks.classify import TASK
from sru_apps.train.fit import Fit
from sru_apps.train.options import TRAINER_OPTIONS, recipe_names, recipe_path


@pytest.fixture
def all_sets_are_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    from sru_data.datasets import classification
    from sru_data.datasets.classification import Example, Splits

    def load(name: str, **_: object) -> Splits:
        count = {"trec": 6, "sst1": 5}.get(name, 2)
        part = [Example("some words", label) for label in range(count)]
        return Splits(name, part, part, part, tuple(f"class {label}" for label in range(count)))

    monkeypatch.setattr(classification, "load", load)


@pytest.mark.usefixtures("all_sets_are_tiny")
@pytest.mark.parametrize("name", recipe_names(TASK))
def test_every_recipe_builds(name: str, tmp_path: Path) -> None:
    job = Fit(TASK, [f"--recipe={name}", f"--runs-dir={tmp_path}"])
    recipe = yaml.safe_load(recipe_path(TASK, name).read_text())
    assert recipe["data"]["name"] == job.data.dataset == name
    assert job.trainer.max_epochs == recipe.get("trainer", {}).get("max_epochs", 12)
    assert (job.module.network.config.hidden_size, job.module.network.config.num_layers) == (128, 2)
    assert job.module.network.config.num_classes == {"trec": 6, "sst1": 5}.get(name, 2)
    job.module.trainer = job.trainer
    (group,) = job.module.configure_optimizers().param_groups
    assert (group["lr"], group["weight_decay"], group["fused"]) == (1e-3, 1e-4, True)
    assert job.run.path.parent == tmp_path / "classify" / name


def test_options_come_before_the_recipe_wherever_they_stand(small_options: list[str]) -> None:
    job = Fit(TASK, ["--model.num_layers=3", *small_options, "--encoder=gru", "--seed=7"])
    assert (job.module.network.config.num_layers, job.module.network.config.encoder) == (3, "gru")
    assert job.module.network.config.hidden_size == 6
    assert job.data.hparams["seed"] == 7
    assert job.options.seed == 7


def test_a_file_of_settings_comes_before_the_options(small_options: list[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "optimizer: {learning_rate: 0.5, betas: [0.5, 0.6]}\nmodel: {num_layers: 3, hidden_size: 9}\n"
    )
    with pytest.warns(UserWarning, match="mine.yaml has former names of options: optimizer.learning_rate is"):
        job = Fit(TASK, [f"--config={path}", *small_options])
    assert (job.module.optimizer.lr, job.module.optimizer.betas) == (0.01, (0.5, 0.6))
    assert (job.module.config.num_layers, job.module.config.hidden_size) == (3, 6)


def test_data_folder_from_the_environment(
    small_options: list[str], tiny_sst2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRU_DATA", str(tiny_sst2))
    job = Fit(TASK, [option for option in small_options if not option.startswith("--data-dir")])
    assert len(job.data.splits.train) == 48


def test_settings_are_kept_in_the_run_folder(trained_run: Path) -> None:
    settings = yaml.safe_load((trained_run / "config.yaml").read_text())
    assert settings["model"]["encoder"] == "sru"
    assert settings["model"]["hidden_size"] == 6


def test_nothing_is_written_before_training_starts(small_options: list[str]) -> None:
    job = Fit(TASK, [*small_options, "--name=one"])
    assert job.run.path.name == "one"
    assert not job.run.path.exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--data.fold=3", "sst2 has its own test set and no folds, got fold 3"),
        ("--data.batch_size=0", "batch_size must be at least 1, got 0"),
        ("--data.embedding_size=0", "embedding_size must be at least 1, got 0"),
        ("--model.hidden_size=0", "hidden_size must be at least 1, got 0"),
        ("--model.hidden_size=999999999999999999999999999999", ""),
        ("--model.num_layers=0", "num_layers must be at least 1, got 0"),
        ("--model.dropout=1.0", "dropout must be at least 0 and less than 1, got 1.0"),
        ("--optimizer.lr=-1", "lr must be at least 0, got -1"),
        ("--trainer.accelerator=gpuu", "invalid accelerator name: `accelerator='gpuu'`"),
        ("--trainer.profiler=stopwatch", "`profiler`"),
        ("--trainer.gradient_clip_algorithm=scissors", "`gradient_clip_algorithm` scissors is invalid"),
        ("--trainer.max_epochs=0", "--trainer.max_epochs must be at least 1, got 0"),
        ("--trainer.max_epochs=null", "--trainer.max_epochs must be at least 1, got None"),
        (
            "--trainer.max_time=90",
            "--trainer.max_time must be DD:HH:MM:SS, such as 00:01:30:00 for 90 minutes, got '90'",
        ),
        ("--trainer.max_time=00:00:00:00", "such as 00:01:30:00 for 90 minutes, got '00:00:00:00'"),
        ("--trainer.max_steps=0", "--trainer.max_steps must be at least 1, or -1 for no limit, got 0"),
        ("--trainer.val_check_interval=13", "from 1 to the 12 of an epoch, or a fraction of an epoch"),
        ("--trainer.devices=1000", "for each processor, got 1000"),
        ("--trainer.devices=[" + "0," * 999 + "0]", "for each processor, got 1000"),
        (
            "--trainer.devices=-3",
            "--trainer.devices must be a number of devices from 1, a list of GPUs such as",
        ),
        ("--trainer.devices=two", "or auto, got two"),
        ("--seed=-1", "-1 is not in bounds"),
    ],
)
def test_refused_values_are_one_line_and_leave_nothing(
    option: str, message: str, small_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", "fit", *small_options, option]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sru classify fit: error: ")
    assert message in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_accelerator(small_options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "fit", *small_options, "--trainer.accelerator=gpu"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no gpu that torch can use was found; give --accelerator cpu, or auto" in line


def test_free_options_of_the_trainer_work(small_options: list[str], tmp_path: Path) -> None:
    options = {
        "max_epochs": 2,
        "max_steps": 9,
        "max_time": "10:00:00:00",
        "val_check_interval": 8,
        "accumulate_grad_batches": 2,
        "devices": 1,
        "num_nodes": 1,
        "strategy": "auto",
        "precision": "bf16-mixed",
        "gradient_clip_val": 0.5,
        "gradient_clip_algorithm": "value",
        "deterministic": "true",
        "benchmark": "false",
        "profiler": "simple",
        "detect_anomaly": "false",
    }
    more = [f"--trainer.{name}={value}" for name, value in options.items()]
    assert {*options, "accelerator"} == TRAINER_OPTIONS
    assert main(["classify", "fit", *small_options, "--name=one", *more]) == 0
    summary = json.loads((tmp_path / "runs/classify/sst2/one/summary.json").read_text())
    assert (summary["steps"], summary["epochs"]) == (9, 2)


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["--recipe=sst3"], 1, "unknown recipe 'sst3'"),
        (["--recipe=sst2", "--model.hiden_size=3"], 2, "Did you mean '--model.hidden_size'?"),
        (["--recipe=sst2", "--model.foo=3"], 2, "unknown option --model.foo.\n"),
        (["--recipe=sst2", "--trainer.logger=false"], 2, "unknown option"),
        (["--recipe=sst2", "--checkpoint-steps=-1"], 2, "checkpoint_steps: expected a number >= 0, got -1"),
        (["--recipe=sst2", "--encoder=transformer"], 2, "encoder"),
        (["--recipe=sst2", "--trainer.max_epochs=many"], 2, "trainer.max_epochs"),
        (["--recipe=sst2", "--trainer.accumulate_grad_batches=0"], 2, "expected a number > 0, got 0"),
        (["--recipe=sst2", "--trainer.num_nodes=0"], 2, "trainer.num_nodes: expected a number > 0, got 0"),
        ([], 2, "no data chosen; give --recipe or --data.name (cr, mpqa, mr, sst1, sst2, subj, trec)"),
        (["--resume=runs/x", "--recipe=sst2"], 1, "--resume continues with the settings of the run"),
        (["--resume=nowhere"], 1, "no run at nowhere"),
    ],
)
def test_wrong_command_lines(
    args: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        returned = main(["classify", "fit", *args])
    except SystemExit as exit_:
        returned = exit_.code
    assert returned == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
