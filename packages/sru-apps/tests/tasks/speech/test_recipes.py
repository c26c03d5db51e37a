from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from sru_apps.tasks.speech import TASK
from sru_apps.tasks.speech.data import SpeechData
from sru_apps.train.fit import Fit
from sru_apps.train.module import count_parameters
from sru_apps.train.options import recipe_names, recipe_path

# The size of the alphabet, and the parameters in millions if the recipe states them.
RECIPES = {
    **{f"an4-{encoder}": (29, 1.16) for encoder in ("sru", "ligru", "sligru", "lstm", "gru", "srupp")},
    "fsdd": (12, None),
    "timit-ligru": (41, None),
    "librispeech-sligru": (1000, None),
}
AN4 = [name for name in RECIPES if name.startswith("an4")]


@cache
def build(name: str) -> Fit:
    """Build a recipe on the meta device, without its data."""
    pytest.importorskip("jiwer", reason="error rates are computed by jiwer")
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(SpeechData, "tokenizer", range(RECIPES[name][0]), raising=False)
        for hook in ("prepare_data", "setup", "train_dataloader"):
            patch.setattr(SpeechData, hook, lambda *_: None)
        return Fit(TASK, [f"--recipe={name}", "--runs-dir=nowhere", "--trainer.accelerator=cpu"])


def test_every_recipe_is_tested_here() -> None:
    assert set(recipe_names(TASK)) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_a_model_of_the_expected_size(name: str) -> None:
    job = build(name)
    assert job.run.path.parent == Path("nowhere", "speech", name)
    if (millions := RECIPES[name][1]) is not None:
        assert count_parameters(job.module) / 1e6 == pytest.approx(millions, abs=0.01)
    content = recipe_path(TASK, name).read_text(encoding="utf-8")
    assert "# Measured here: " in content
    assert "# Published: " in content


def test_compared_recipes_differ_only_in_the_encoder_and_its_width() -> None:
    first, *others = (build(name) for name in AN4)
    for other in others:
        config = other.module.config
        same = replace(first.module.config, encoder=config.encoder, hidden_size=config.hidden_size)
        assert same == config
        assert first.module.optimizer == other.module.optimizer
        assert dict(first.data.hparams) == dict(other.data.hparams)
        assert first.options.trainer == other.options.trainer
