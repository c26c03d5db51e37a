from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from sru_apps.tasks.lm import TASK
from sru_apps.tasks.lm.data import LanguageModelData
from sru_apps.train.fit import Fit
from sru_apps.train.module import count_parameters
from sru_apps.train.options import recipe_names, recipe_path
from sru_data.datasets import language_modelling

# The text, the size of its vocabulary including padding and unknown, and the parameters: those of the paper
# if published, otherwise those shared by the compared recipes.
RECIPES = {
    "quick": ("python-help", 105, 304_000),
    "tiny-shakespeare": ("tiny-shakespeare", 67, 1_564_000),
    "ptb-sru3": ("ptb", 10_001, 24_000_000),
    "ptb-sru4": ("ptb", 10_001, 24_000_000),
    "ptb-sru5": ("ptb", 10_001, 24_000_000),
    "ptb-sru6": ("ptb", 10_001, 24_000_000),
    "ptb-lstm": ("ptb", 10_001, 24_000_000),
    "wikitext-2-sru": ("wikitext-2", 33_279, 3_975_000),
    "wikitext-2-lstm": ("wikitext-2", 33_279, 3_975_000),
    "enwik8-sru": ("enwik8", 258, 49_000_000),
    "enwik8-srupp-base": ("enwik8", 258, 108_000_000),
    "enwik8-srupp-large": ("enwik8", 258, 191_000_000),
    "enwik8-small-sru": ("enwik8", 258, 2_790_000),
    "enwik8-small-srupp": ("enwik8", 258, 2_790_000),
    "enwik8-small-lstm": ("enwik8", 258, 2_790_000),
    "wikitext-103-srupp": ("wikitext-103", 267_736, 148_000_000),
    "one-billion-words-srupp": ("one-billion-words", 793_472, 328_000_000),
}
UNITS = {
    "python-help": "characters",
    "tiny-shakespeare": "characters",
    "enwik8": "bytes",
}
# The options in which compared recipes may differ.
OWN = ("encoder", "hidden_size", "projection_size", "layer_norm", "memory_length")


@cache
def build(name: str) -> Fit:
    """Build a recipe on the meta device, without its data."""
    text, vocab_size, _ = RECIPES[name]
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(LanguageModelData, "tokenizer", range(vocab_size), raising=False)
        patch.setattr(LanguageModelData, "unit", UNITS.get(text, "words"))
        patch.setattr(LanguageModelData, "separator", None, raising=False)
        for name_of_hook in ("prepare_data", "setup", "train_dataloader"):
            patch.setattr(LanguageModelData, name_of_hook, lambda *_: None)
        return Fit(TASK, [f"--recipe={name}", "--runs-dir=nowhere", "--trainer.accelerator=cpu"])


def test_every_recipe_is_tested_here() -> None:
    assert set(recipe_names(TASK)) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_a_model_of_the_expected_size(name: str) -> None:
    job = build(name)
    text, _, parameters = RECIPES[name]
    assert job.data.hparams["name"] == text
    assert text in language_modelling.NAMES
    assert count_parameters(job.module) == pytest.approx(parameters, rel=0.02)
    assert job.run.path.parent == Path("nowhere", "lm", name)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_states_its_measurements(name: str) -> None:
    content = recipe_path(TASK, name).read_text(encoding="utf-8")
    assert "# Measured here: " in content
    assert "# Published: " in content


@pytest.mark.parametrize(
    "names",
    [
        ("wikitext-2-sru", "wikitext-2-lstm"),
        ("enwik8-small-sru", "enwik8-small-srupp", "enwik8-small-lstm"),
    ],
)
def test_compared_recipes_differ_only_in_the_encoder_and_learning_rate(names: tuple[str, ...]) -> None:
    built = [build(name) for name in names]
    settings = []
    for job in built:
        model = {key: value for key, value in job.module.hparams["config"].items() if key not in OWN}
        optimizer = replace(job.module.optimizer, lr=0.0)
        settings.append((model, optimizer, dict(job.data.hparams)))
    assert all(one == settings[0] for one in settings)
    counts = [count_parameters(job.module) for job in built]
    assert max(counts) < 1.01 * min(counts)


@pytest.mark.parametrize(
    ("name", "layers", "size"),
    [
        ("ptb-sru3", 3, 1180),
        ("ptb-sru4", 4, 1060),
        ("ptb-sru5", 5, 980),
        ("ptb-sru6", 6, 910),
        ("ptb-lstm", 2, 950),
    ],
)
def test_published_settings_of_the_penn_treebank(name: str, layers: int, size: int) -> None:
    job = build(name)
    config, optimizer = job.module.config, job.module.optimizer
    assert (config.num_layers, config.hidden_size, config.embedding_size) == (layers, size, size)
    assert tuple(job.data.hparams[name] for name in ("batch_size", "length")) == (32, 35)
    # The published loss is the sum over the steps of a segment; ours is the mean.
    assert optimizer.lr == 1.0 * 35
    assert job.trainer.gradient_clip_val == pytest.approx(5 / 35, rel=1e-4)
    assert optimizer.lr * optimizer.weight_decay == pytest.approx(1e-5, rel=1e-3)
    assert (optimizer.schedule, optimizer.gamma, optimizer.gamma_from_epoch) == ("exponential", 0.98, 176)
