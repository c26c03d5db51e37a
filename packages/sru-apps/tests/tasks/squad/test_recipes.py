from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from sru_apps.tasks.squad import TASK
from sru_apps.tasks.squad.data import SquadData
from sru_apps.train.fit import Fit
from sru_apps.train.module import count_parameters
from sru_apps.train.options import recipe_names, recipe_path

# The data, and the parameters without word vectors in millions, if published.
RECIPES = {
    "small": ("squad1", None),
    "squad-cpu": ("squad1", None),
    "squad-cpu-lstm": ("squad1", None),
    "drqa-sru3": ("squad1", 2.0),
    "drqa-sru4": ("squad1", 2.4),
    "drqa-sru6": ("squad1", 3.2),
    "drqa-lstm": ("squad1", 4.1),
    "fusion": ("squad1", 5.8),
    "squad2-sru6": ("squad2", 3.2),
    "squad2-fusion": ("squad2", 5.8),
}
TAGS, ENTITIES = 51, 19
"""The number of tags and entity types in spaCy's English pipelines, including padding."""


@cache
def build(name: str) -> Fit:
    """Build a recipe on the meta device, without its data."""
    spacy = "features: spacy" in recipe_path(TASK, name).read_text(encoding="utf-8")
    facts = {
        "tokenizer": range(1000),
        "tags": [""] * TAGS * spacy,
        "entities": [""] * ENTITIES * spacy,
        "num_features": 3 + spacy,
        "no_answer": RECIPES[name][0] == "squad2",
        "description": {"features": "none"},
    }
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        for attribute, value in facts.items():
            patch.setattr(SquadData, attribute, value, raising=False)
        for hook in ("prepare_data", "setup", "train_dataloader"):
            patch.setattr(SquadData, hook, lambda *_: None)
        options = [f"--recipe={name}", "--runs-dir=nowhere", "--trainer.accelerator=cpu"]
        return Fit(TASK, [*options, "--data.embedding_size=300"] if spacy else options)


def test_every_recipe_is_tested_here() -> None:
    assert set(recipe_names(TASK)) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_a_model_of_the_expected_size(name: str) -> None:
    job = build(name)
    data, millions = RECIPES[name]
    assert job.data.hparams["name"] == data
    assert job.run.path.parent == Path("nowhere", "squad", name)
    if millions is not None:
        own = count_parameters(job.module) - count_parameters(job.module.network.inputs.embedding)
        assert own / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_states_its_measurements(name: str) -> None:
    content = recipe_path(TASK, name).read_text(encoding="utf-8")
    assert "# Measured here: " in content
    assert "# Published: " in content


def test_compared_recipes_differ_only_in_the_encoder_and_its_epochs() -> None:
    sru, lstm = (build(name) for name in ("squad-cpu", "squad-cpu-lstm"))
    assert replace(sru.module.config, encoder="lstm") == lstm.module.config
    assert sru.module.optimizer == lstm.module.optimizer
    assert dict(sru.data.hparams) == dict(lstm.data.hparams)
    for option in ("max_time", "gradient_clip_val"):
        assert sru.options.trainer[option] == lstm.options.trainer[option]
