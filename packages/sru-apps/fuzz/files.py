"""Damaged files of every kind that the trainers write, passed to every command that reads them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import samples
import torch
import yaml
from cases import Case, Refused, dump_json, hostile_value, mutated_bytes, mutated_tree
from hypothesis import strategies as st

from sru_apps.train.weights import read_checkpoint

SECONDS = 60
prepare = samples.prepare
USES: dict[str, Callable[[Path], list[list[str]]]] = {
    "classify": lambda model: [["predict", f"--model={model}", "a warm film", "dull"]],
    "lm": lambda model: [
        ["generate", f"--model={model}", "--max-tokens=5", "--prompt=the"],
        ["score", f"--model={model}", str(model.parent / "text.txt")],
    ],
    "chat": lambda model: [["reply", f"--model={model}", "--message=say a", "--max-tokens=5"]],
    "squad": lambda model: [
        ["predict", f"--model={model}", "--passage=Ada lives in Oslo.", "Where does Ada live?"],
        ["predict", f"--model={model}", f"--file={model.parent / 'questions.json'}"],
    ],
}
"""The commands of each task that use a model."""


def refuses(error: BaseException) -> bool:
    """`samples.run` raises `Refused` itself."""
    return False


def _copy(case: Case) -> tuple[str, Path]:
    """Copy the run of a task and its data."""
    task = case.draw(st.sampled_from(samples.TASKS), "task")
    run = case.copy(str(samples.run_folder(task, case.samples).relative_to(case.samples)))
    for name in samples.DATA:
        case.copy(name)
    samples.use_tiny_sets()
    return task, run


def _use(case: Case, task: str, model: Path) -> str:
    """Run a command with a model."""
    uses = USES[task](model)
    (model.parent / "text.txt").write_text("the quick fox\njumps\n")
    if task == "squad":
        shutil.copy(case.folder / "questions.json", model.parent)
    return samples.run(case, [task, *uses[case.draw(st.integers(0, len(uses) - 1), "command")]])


def exports(case: Case) -> None:
    """An exported model with one damaged file: weights, configuration or tokenizer."""
    task, run = _copy(case)
    case.damage(run / "model")
    _use(case, task, run / "model")


def _hostile_tensor(chance: random.Random, value: Any) -> Any:
    """Return a hostile replacement for a value of a checkpoint."""
    if not isinstance(value, torch.Tensor):
        return hostile_value(chance, value)
    wide = value.float()
    kinds: list[Callable[[], Any]] = [
        lambda: "x",
        lambda: value.tolist(),
        lambda: value[None],
        lambda: value.flatten()[:-1],
        lambda: value.to(torch.int32),
        lambda: value.to_sparse(),
        lambda: value.to("meta"),
        lambda: torch.zeros(()).expand(2**40),
        lambda: torch.full_like(wide, torch.nan),
        lambda: torch.quantize_per_tensor(wide, 0.1, 0, torch.qint8),
    ]
    return chance.choice(kinds)()


def checkpoint_bytes(case: Case) -> None:
    """A checkpoint with mutated bytes: refused, or its content is unchanged."""
    task, run = _copy(case)
    path = run / "checkpoints" / case.draw(st.sampled_from(["best.ckpt", "last.ckpt"]), "file")
    before = read_checkpoint(path)
    path.write_bytes(mutated_bytes(path.read_bytes(), case.random()))
    _use(case, task, path)
    found = samples.differences(before, read_checkpoint(path))
    assert not found, f"undetected damage: {found[:5]}"


def checkpoint_contents(case: Case) -> None:
    """A readable checkpoint with hostile content."""
    task, run = _copy(case)
    chance = case.random()
    for path in (run / "checkpoints/best.ckpt", run / "checkpoints/last.ckpt"):
        content = read_checkpoint(path)
        if chance.random() < 0.5:
            content["state_dict"] = mutated_tree(dict(content["state_dict"]), chance, _hostile_tensor)
        else:
            content = mutated_tree(content, chance, _hostile_tensor)
        try:
            torch.save(content, path)
        except RecursionError:
            raise Refused("nested too deeply to save") from None
    commands = {
        "use": lambda: _use(case, task, path),
        "validate": lambda: samples.run(case, [task, "validate", str(path)]),
        "resume": lambda: samples.run(case, [task, "fit", f"--resume={run}", "--trainer.max_epochs=3"]),
    }
    commands[case.draw(st.sampled_from(sorted(commands)), "command")]()


def run_folders(case: Case) -> None:
    """A run folder with mutated settings, metrics or summary, which is resumed or listed."""
    task, run = _copy(case)
    name = case.draw(st.sampled_from(["config.yaml", "metrics.csv", "summary.json"]), "file")
    path, chance = run / name, case.random()
    content = path.read_bytes()
    if name != "metrics.csv" and case.draw(st.booleans(), "as a tree"):
        tree = mutated_tree(yaml.safe_load(content), chance, hostile_value)
        path.write_bytes(dump_json(tree))  # JSON is YAML
    else:
        path.write_bytes(mutated_bytes(content, chance))
    if name == "summary.json" and task == "classify":
        samples.run(case, ["classify", "table", str(run)])
    else:
        samples.run(case, [task, "fit", f"--resume={run}", "--trainer.max_epochs=3"])
