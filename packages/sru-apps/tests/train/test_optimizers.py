from __future__ import annotations

import pytest
import torch
from torch import nn

from sru_apps.train.optimizers import OptimizerConfig, build_optimizer, parameter_groups


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("adamax", torch.optim.Adamax),
        ("radam", torch.optim.RAdam),
        ("sgd", torch.optim.SGD),
    ],
)
def test_each_optimizer_moves_the_weights(name, kind):
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    optimizer = build_optimizer(layer, OptimizerConfig(name, 0.1), fused=True)
    assert type(optimizer) is kind
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(layer.weight, before)


def test_options_reach_the_optimizer():
    config = OptimizerConfig("adam", 0.1, betas=(0.5, 0.6), eps=1e-3, weight_decay=0.25, decay_all=True)
    defaults = build_optimizer(nn.Linear(3, 2), config).param_groups[0]
    assert {key: defaults[key] for key in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 0.1,
        "betas": (0.5, 0.6),
        "eps": 1e-3,
        "weight_decay": 0.25,
    }
    assert build_optimizer(nn.Linear(3, 2), OptimizerConfig("sgd", momentum=0.5)).defaults["momentum"] == 0.5


@pytest.mark.parametrize("decoupled", [False, True])
def test_weight_decay_of_radam(decoupled):
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    config = OptimizerConfig("radam", 0.1, weight_decay=0.5, decoupled_weight_decay=decoupled)
    optimizer = build_optimizer(layer, config)
    (layer.weight.sum() * 0).backward()
    # In the first steps RAdam does not adapt to the gradient.
    for _ in range(9):
        optimizer.step()
    shrunk = torch.allclose(layer.weight, before * (1 - 0.1 * 0.5) ** 9)
    assert shrunk is decoupled


def test_only_matrices_decay():
    network = nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    network[0].weight.requires_grad_(False)
    decaying, others = parameter_groups(network, OptimizerConfig(weight_decay=0.1))
    assert [tuple(p.shape) for p in decaying["params"]] == [(2, 3)]
    assert [tuple(p.shape) for p in others["params"]] == [(3,), (3,), (2,)]
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    (whole,) = parameter_groups(network, OptimizerConfig(weight_decay=0.1, decay_all=True))
    assert len(whole["params"]) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "lion"}, "name must be one of adam, adamw, adamax, radam, sgd, got 'lion'"),
        ({"lr": -1.0}, "lr must be at least 0, got -1.0"),
        ({"lr": float("nan")}, "lr must be at least 0, got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"betas": (0.9, 1.0)}, r"betas must be at least 0 and less than 1, got \(0.9, 1.0\)"),
        ({"final_fraction": 2.0}, "final_fraction must be at least 0 and at most 1, got 2.0"),
        ({"gamma": 0.0}, "gamma must be above 0 and at most 1, got 0.0"),
        ({"gamma_from_epoch": 0}, "gamma_from_epoch must be at least 1, got 0"),
        (
            {"decoupled_weight_decay": True},
            "decoupled_weight_decay is for radam, got it for adamw; leave it",
        ),
        ({"plateau_factor": 1.0}, "plateau_factor must be above 0 and less than 1, got 1.0"),
        ({"momentum": 0.9}, "momentum is for sgd; adamw has betas"),
        ({"schedule": "noam"}, "the noam schedule needs warmup_steps of at least 1, got 0"),
    ],
)
def test_refused_values(options, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**options)


def test_checkpoints_may_use_the_former_name_of_the_learning_rate():
    assert OptimizerConfig.of({"name": "sgd", "learning_rate": 0.5}) == OptimizerConfig("sgd", 0.5)
