from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sru_apps.tasks.translate import TASK
from sru_apps.tasks.translate.data import TranslationData
from sru_apps.train.fit import Fit
from sru_apps.train.module import count_parameters
from sru_apps.train.options import recipe_names, recipe_path
from sru_data.tokenizers import TextForm

WAYS = ("en-de", "de-en")
CELLS = ("sru", "lstm", "gru")
# The vocabulary size of each side, and the parameters in millions.
RECIPES: dict[str, tuple[int, float]] = {
    **{f"multi30k-{way}-{cell}": (5002, 3.93) for way in WAYS for cell in CELLS},
    **{f"multi30k-{way}-transformer-sru": (5002, 5.03) for way in WAYS},
    "iwslt14-de-en-transformer-sru": (10_002, 49.25),
    "wmt14-en-de-transformer-sru": (32_002, 90.56),
}


class Vocabulary(SimpleNamespace):
    """A stand-in for a tokenizer."""

    def __len__(self) -> int:
        return int(self.size)


@cache
def build(name: str) -> Fit:
    """Build a recipe on the meta device, without its data."""
    pytest.importorskip("sacrebleu", reason="BLEU is computed by sacrebleu")
    side = Vocabulary(size=RECIPES[name][0], form=TextForm())
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        sides = {"source": side, "target": side, "joint": "multi30k" not in name}
        pair = Vocabulary(size=RECIPES[name][0], **sides)
        patch.setattr(TranslationData, "tokenizer", pair)
        for hook in ("prepare_data", "setup", "train_dataloader"):
            patch.setattr(TranslationData, hook, lambda *_: None)
        return Fit(TASK, [f"--recipe={name}", "--runs-dir=nowhere", "--trainer.accelerator=cpu"])


def test_every_recipe_is_tested_here() -> None:
    assert set(recipe_names(TASK)) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_a_model_of_the_expected_size(name: str) -> None:
    job = build(name)
    assert job.run.path.parent == Path("nowhere", "translate", name)
    assert count_parameters(job.module) / 1e6 == pytest.approx(RECIPES[name][1], abs=0.02)
    content = recipe_path(TASK, name).read_text(encoding="utf-8")
    assert "# Measured here: " in content
    assert "# Published: " in content


@pytest.mark.parametrize("direction", WAYS)
def test_compared_recipes_differ_only_in_the_cells_and_their_widths(direction: str) -> None:
    first, *others = (build(f"multi30k-{direction}-{cell}") for cell in CELLS)
    for other in others:
        config = other.module.config
        cells = {"encoder": config.encoder, "decoder": config.decoder}
        widths = {"hidden_size": config.hidden_size, "decoder_size": config.decoder_size}
        assert replace(first.module.config, **cells, **widths) == config
        assert first.module.optimizer == other.module.optimizer
        assert dict(first.data.hparams) == dict(other.data.hparams)
        assert first.options.trainer == other.options.trainer
        assert count_parameters(other.module) == pytest.approx(count_parameters(first.module), rel=0.02)


@pytest.mark.parametrize("system", [*CELLS, "transformer-sru"])
def test_both_directions_have_the_same_settings(system: str) -> None:
    one, other = (build(f"multi30k-{direction}-{system}") for direction in WAYS)
    assert one.module.config == other.module.config
    assert one.module.optimizer == other.module.optimizer
    assert {**one.data.hparams, "name": ""} == {**other.data.hparams, "name": ""}
