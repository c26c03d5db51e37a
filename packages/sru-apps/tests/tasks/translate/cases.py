"""Small models of every system, and a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.model import TranslationModel
from sru_apps.tasks.translate.systems import build

SOURCES, TARGETS = 11, 13
LENGTHS = [5, 2, 4]
SYSTEMS: dict[str, dict[str, Any]] = {
    "sru": {},
    "srupp": {"decoder": "srupp", "projection_size": 4, "score": "dot"},
    "lstm": {"decoder": "lstm", "residual": True, "num_layers": 3, "score": "concat"},
    "gru": {"encoder": "gru", "decoder": "gru", "attention": "luong", "decoder_layers": 1},
    "luong": {"attention": "luong", "residual": True, "decoder_size": 5},
    "transformer-sru": {"system": "transformer-sru", "attention_heads": 2},
    "both-ways": {"system": "transformer-sru", "attention_heads": 3, "bidirectional": True},
}
"""Options that together cover every branch of the models."""


def config_of(**options: Any) -> TranslationConfig:
    """Return a configuration with 6 embedding features, 4 encoder units and 8 decoder units."""
    sizes = {"source_vocab_size": SOURCES, "target_vocab_size": TARGETS, "joint": False}
    units = {"embedding_size": 6, "hidden_size": 4}
    if "system" not in options:
        units["decoder_size"] = 8
    return TranslationConfig(**{**sizes, **units, **options})


def model_of(**options: Any) -> TranslationModel:
    """Return a model in float64 and evaluation mode; alpha of SRU++ is nonzero, so that attention counts."""
    torch.manual_seed(0)
    model = build(config_of(**options)).double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("alpha"):
            nn.init.constant_(parameter, 0.7)
    return model


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Return sources, (5, 3), padded with 0; their mask; targets, (6, 3)."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(max(LENGTHS))[:, None] >= torch.tensor(LENGTHS)
    source = torch.randint(1, SOURCES, mask.shape, generator=generator).masked_fill(mask, 0)
    return source, mask, torch.randint(1, TARGETS, (6, len(LENGTHS)), generator=generator)
