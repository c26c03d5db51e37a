from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest

from sru_apps.tasks.lm.model import LanguageModelConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be at least 1, got 0"),
        ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and less than 1, got 1.0"),
        ({"output_dropout": -1}, "output_dropout must be at least 0 and less than 1, got -1"),
        ({"embedding": "rare"}, "embedding must be one of plain, adaptive, got 'rare'"),
        ({"output": "plain"}, "output must be one of linear, adaptive, got 'plain'"),
        ({"cluster_shrink": 0}, "cluster_shrink must be at least 1, got 0"),
        ({"initial_range": 0.0}, "initial_range must be above 0, got 0.0"),
        ({"initial_range": math.inf}, "initial_range must be at most 1000, got inf"),
        ({"cutoffs": (3,)}, "cutoffs are for an adaptive embedding or output"),
        (
            {"embedding": "adaptive", "tie_weights": True},
            "tie_weights needs an embedding and an output of the same kind, got embedding adaptive and",
        ),
        ({"tie_weights": True, "project_output": False}, "tie_weights needs the hidden size 256 to be the"),
        ({"encoder": "rnn"}, "unknown recurrent encoder 'rnn'"),
        ({"encoder": "lstm", "num_heads": 2}, "the encoder 'lstm' has no option num_heads"),
        ({"num_heads": 0}, "num_heads must be at least 1, got 0"),
    ],
)
def test_invalid_values(options, message):
    with pytest.raises(ValueError, match=message):
        LanguageModelConfig(**{"vocab_size": 100, **options})


def test_a_size_out_of_range():
    with pytest.raises(ValueError, match=r"hidden_size must be at most 2,147,483,647, got 10{30}$"):
        LanguageModelConfig(vocab_size=9, hidden_size=10**30)


def test_json_round_trip():
    config = LanguageModelConfig(vocab_size=100, output="adaptive", cutoffs=(10, 40), encoder="srupp")
    assert LanguageModelConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_output_is_projected_if_tying_needs_it():
    def projects(**options):
        return LanguageModelConfig(vocab_size=9, embedding_size=4, **options).projects_output

    assert not projects()
    assert projects(project_output=True)
    assert projects(tie_weights=True)
    assert not projects(tie_weights=True, hidden_size=4)
