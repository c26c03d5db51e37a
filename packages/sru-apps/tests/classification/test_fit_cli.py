from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sru_apps.classification.fit_cli import PACKAGE, FitCLI
from sru_apps.cli import main
from sru_apps.training.recipes import recipe_names, recipe_path


@pytest.fixture
def all_sets_are_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    from sru_data import classification
    from sru_data.classification import Example, Splits

    def load(name: str, **_: object) -> Splits:
        count = {"trec": 6, "sst1": 5}.get(name, 2)
        part = [Example("some words", label) for label in range(count)]
        return Splits(name, part, part, part, tuple(f"class {label}" for label in range(count)))

    monkeypatch.setattr(classification, "load", load)


@pytest.mark.usefixtures("all_sets_are_tiny")
@pytest.mark.parametrize("name", recipe_names(PACKAGE))
def test_every_recipe_builds(name: str, tmp_path: Path) -> None:
    cli = FitCLI([f"--recipe={name}", f"--runs-dir={tmp_path}"])
    recipe = yaml.safe_load(recipe_path(PACKAGE, name).read_text())
    assert recipe["data"]["name"] == cli.datamodule.dataset == name
    assert cli.trainer.max_epochs == recipe.get("trainer", {}).get("max_epochs", 12)
    assert (cli.model.network.config.hidden_size, cli.model.network.config.num_layers) == (128, 2)
    assert cli.model.network.config.num_classes == {"trec": 6, "sst1": 5}.get(name, 2)
    (optimizer,) = [cli.model.configure_optimizers()]
    assert optimizer.defaults["lr"] == 1e-3
    assert optimizer.defaults["weight_decay"] == 1e-4
    assert cli.run.path.parent == tmp_path / "classify" / name


def test_options_come_before_the_recipe_wherever_they_stand(small_options: list[str]) -> None:
    cli = FitCLI(["--model.num_layers=3", *small_options, "--encoder=gru", "--seed=7"])
    assert (cli.model.network.config.num_layers, cli.model.network.config.encoder) == (3, "gru")
    assert cli.model.network.config.hidden_size == 6
    assert cli.datamodule.seed == 7
    assert cli.options.seed_everything == 7


def test_data_folder_from_the_environment(
    small_options: list[str], tiny_sst2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRU_DATA", str(tiny_sst2))
    cli = FitCLI([option for option in small_options if not option.startswith("--data-dir")])
    assert len(cli.datamodule.splits.train) == 48


def test_settings_are_kept_in_the_run_folder(small_options: list[str]) -> None:
    cli = FitCLI([*small_options, "--encoder=lstm"])
    settings = yaml.safe_load(cli.run.config.read_text())
    assert settings["encoder"] == "lstm"
    assert settings["model"]["hidden_size"] == 6


def test_help_shows_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["classify", "fit", "--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    for option in ("--recipe", "--data-dir", "--embeddings", "--encoder", "--resume", "--optimizer.lr"):
        assert option in shown
    assert "cr, mpqa, mr, sst1, sst2, subj, trec" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["--recipe=sst3"], 1, "unknown recipe 'sst3'"),
        (["--recipe=sst2", "--model.hiden_size=3"], 2, "Did you mean '--model.hidden_size'?"),
        (["--recipe=sst2", "--encoder=transformer"], 2, "encoder"),
        (["--recipe=sst2", "--trainer.max_epochs=many"], 2, "trainer.max_epochs"),
        ([], 2, "no data set chosen; give --recipe (cr, mpqa, mr, sst1, sst2, subj, trec) or --data.name"),
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
