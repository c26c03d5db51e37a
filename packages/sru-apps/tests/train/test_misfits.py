"""Checkpoints that load but do not fit: the error names file and key, and the run folder is unchanged."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sru_apps.cli import main
from sru_apps.train.weights import read_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A run of three epochs to continue for a fourth."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


@pytest.fixture(scope="module")
def good(trained_run: Path) -> dict[str, Any]:
    return read_checkpoint(trained_run / "checkpoints/last.ckpt")


EMBEDDING = "network.embedding.weight"
SPARSE = torch.eye(3).to_sparse()


def resume(run: Path) -> int:
    return main(["classify", "fit", f"--resume={run}", "--trainer.max_epochs=4"])


def put(content: Any, path: list[Any], value: Any) -> Any:
    """Replace a nested value; `...` removes it."""
    content = copy.deepcopy(content)
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["state_dict"], [1, 2], "its state_dict is not a table of weights but a list"),
        (["state_dict", EMBEDDING], "text", f"its state_dict['{EMBEDDING}'] is not a dense tensor"),
        (["state_dict", EMBEDDING], SPARSE, f"its state_dict['{EMBEDDING}'] is not a dense tensor"),
        (["state_dict", EMBEDDING], torch.zeros(1).expand(30, 8), f"['{EMBEDDING}'] is not a dense tensor"),
        (["state_dict", EMBEDDING], torch.zeros(3, 3), f"size mismatch for {EMBEDDING}"),
        (["state_dict", EMBEDDING], ..., f'Missing key(s) in state_dict: "{EMBEDDING}"'),
        (["state_dict", "more"], torch.zeros(3), 'Unexpected key(s) in state_dict: "more"'),
        (["loops"], 3, "its loops is not a table but int"),
        (["loops", "fit_loop"], ..., "its loops lacks 'fit_loop'"),
        (
            ["loops", "fit_loop", "epoch_progress"],
            [],
            "its loops['fit_loop']['epoch_progress'] is not a table",
        ),
        (
            ["loops", "fit_loop", "epoch_progress", "current", "completed"],
            "two",
            "its loops['fit_loop']['epoch_progress']['current']['completed'] is not a number but str",
        ),
        (["callbacks"], None, "its callbacks is not a table but NoneType"),
        (["callbacks", "History", "rows"], 3, "its callbacks['History']['rows'] is not a list"),
        (
            ["callbacks", "History", "rows", 0],
            {},
            "its callbacks['History']['rows'] has a row of other figures",
        ),
        (["callbacks", "History", "rows", 0, "train_loss"], "x", "has a row of other figures"),
        (
            ["callbacks", "History", "sums"],
            [0.0],
            "its callbacks['History']['sums'] is not a list of 3 parts",
        ),
        (["callbacks", "RunCheckpoints", "best_epoch"], "x", "['best_epoch'] is not a number but str"),
        (["callbacks", "RunCheckpoints", "best_score"], "x", "is not a checkpoint of this run"),
        (["optimizer_states"], {}, "its optimizer_states is not a list of 1 parts"),
        (["optimizer_states"], [], "its optimizer_states is not a list of 1 parts"),
        (["optimizer_states", 0, "param_groups"], 3, "its optimizer_states[0]['param_groups'] is not a list"),
        (["optimizer_states", 0, "param_groups", 0, "params"], [0], "are not of the weights in their order"),
        (["optimizer_states", 0, "param_groups", 0, "params", 8], 1, "are not of the weights in their order"),
        (["optimizer_states", 0, "param_groups", 0, "betas"], "x", "is not a checkpoint of this run"),
        (
            ["optimizer_states", 0, "state", 0, "exp_avg"],
            torch.zeros(2),
            "its optimizer_states[0]['state'][0]['exp_avg'] is not a tensor of shape (30, 8)",
        ),
        (["optimizer_states", 0, "state", 0, "exp_avg"], ..., "['state'][0] lacks 'exp_avg'"),
        (["optimizer_states", 0, "state", 99], {}, "['state'][99] belongs to no weight"),
        (["lr_schedulers"], 3, "its lr_schedulers is not a list"),
        (["global_step"], "x", "its global_step is not a number but str"),
        (["SentenceData"], {"tokenizer": 3}, ""),
        (["hyper_parameters"], {}, ""),
        (["datamodule_hyper_parameters"], 3, "is damaged or is not a checkpoint"),
    ],
    ids=str,
)
def test_a_checkpoint_that_does_not_fit(
    run: Path,
    good: dict[str, Any],
    path: list[Any],
    value: Any,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    last = run / "checkpoints/last.ckpt"
    torch.save(put(good, path, value), last)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    capsys.readouterr()
    assert resume(run) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {last} " in line or not reason
    assert reason in line
    assert len(line) < 600
    assert {file: file.read_bytes() for file in before if file != run / "config.yaml"} == {
        file: content for file, content in before.items() if file != run / "config.yaml"
    }


def test_the_schedule_of_another_run(
    small_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs/classify/sst2/one"
    more = ["--name=one", "--optimizer.schedule=cosine", "--trainer.max_epochs=1"]
    assert main(["classify", "fit", *small_options, *more]) == 0
    last = run / "checkpoints/last.ckpt"
    for value, reason in (
        ({}, "lr_schedulers[0] lacks 'last_epoch'"),
        ("x", "lr_schedulers[0] is not a table"),
    ):
        torch.save(put(read_checkpoint(last), ["lr_schedulers"], [value]), tmp_path / "x")
        (run / "checkpoints/x.ckpt").write_bytes((tmp_path / "x").read_bytes())
        fit = ["classify", "fit", f"--resume={run / 'checkpoints/x.ckpt'}", "--trainer.max_epochs=2"]
        assert main(fit) == 1
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("num_layers", 10**9), ("num_layers", 90), ("hidden_size", 10**9), ("embedding_size", 10**12)],
)
@pytest.mark.parametrize("place", ["config.yaml", "checkpoint", "both"])
def test_sizes_are_compared_before_anything_is_built(
    run: Path,
    good: dict[str, Any],
    option: str,
    value: int,
    place: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    group = "data" if option == "embedding_size" else "model"
    if place != "checkpoint":
        settings = yaml.safe_load((run / "config.yaml").read_text())
        settings[group][option] = value
        (run / "config.yaml").write_text(yaml.safe_dump(settings))
    if place != "config.yaml":
        torch.save(put(good, ["hyper_parameters", "config", option], value), run / "checkpoints/last.ckpt")
    capsys.readouterr()
    assert resume(run) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(
        r"was trained with|must be at most|mismatch|cannot be built|GiB|this module has|Missing key",
        line,
    )


@pytest.mark.parametrize(
    ("option", "value"), [("num_layers", 10**9), ("vocab_size", 3 * 10**8), ("hidden_size", 10**7)]
)
@pytest.mark.parametrize("form", ["export", "checkpoint"])
def test_an_export_of_other_sizes(
    run: Path, good: dict[str, Any], option: str, value: int, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if form == "export":
        path = run / "model"
        config = json.loads((path / "config.json").read_text())
        config["model"][option] = value
        (path / "config.json").write_text(json.dumps(config))
    else:
        path = run / "checkpoints/last.ckpt"
        torch.save(put(good, ["hyper_parameters", "config", option], value), path)
    capsys.readouterr()
    assert main(["classify", "predict", f"--model={path}", "fun"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {path} is damaged or is not " in line


def test_a_model_beyond_the_memory_is_not_begun(
    small_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", "fit", *small_options, "--model.hidden_size=5000000"]) == 1
    assert "GiB, and this machine has" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def rewrite(path: Path, change: Callable[[zipfile.ZipInfo, bytes], bytes], compression: int = 0) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = [(info, change(info, archive.read(info))) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in entries:
            archive.writestr(info.filename, content, compression)


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_an_entry_that_inflates(run: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    last = run / "checkpoints/last.ckpt"
    rewrite(
        last,
        lambda info, content: bytes(2**26) if info.filename.endswith("data/0") else content,
        zipfile.ZIP_DEFLATED,
    )
    assert last.stat().st_size < 2**20
    capsys.readouterr()
    assert (resume(run) if command == "fit" else main(["classify", "predict", f"--model={last}", "x"])) == 1
    assert "its entries are compressed, which torch.save never does" in capsys.readouterr().err


def test_an_archive_that_lies_about_its_sizes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = run / "checkpoints/last.ckpt"
    content = last.read_bytes()
    entry = content.rindex(b"PK\x01\x02")
    lie = (2**31).to_bytes(4, "little")
    last.write_bytes(content[: entry + 20] + lie * 2 + content[entry + 28 :])
    capsys.readouterr()
    assert resume(run) == 1
    assert "its entries are larger than the file" in capsys.readouterr().err


def test_former_best_of_nan_is_no_misfit(run: Path, good: dict[str, Any]) -> None:
    torch.save(
        put(good, ["callbacks", "RunCheckpoints", "best_score"], math.nan), run / "checkpoints/last.ckpt"
    )
    assert resume(run) == 0
