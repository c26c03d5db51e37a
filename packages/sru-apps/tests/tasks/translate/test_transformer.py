"""The equations of the Transformer with SRUs, and the paper's parameter counts."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sru_apps.tasks.translate.transformer import HeadedAttention

from .cases import SOURCES, TARGETS, batch, model_of


def parameters(sources: int, targets: int, size: int, units: int, layers: int) -> int:
    norm, attention = 2 * size, 4 * size * size
    sru = 3 * size * units + 4 * units + units * size + size
    encoder, decoder = 2 * norm + attention + sru, 3 * norm + 2 * attention + sru
    return (sources + targets) * size + layers * (encoder + decoder) + 2 * norm


def test_parameter_counts_equal_the_papers() -> None:
    model = model_of(system="transformer-sru", attention_heads=2, num_layers=3)
    wanted = parameters(SOURCES, TARGETS, 6, 4, 3)
    assert sum(map(torch.numel, model.parameters())) == wanted
    # Table 5 of Lei et al. (2018), with 32,000 symbols per side.
    found = [round(parameters(32_000, 32_000, 512, 2048, layers) / 1e6) for layers in (4, 5)]
    assert found == [79, 91]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_pytorchs(causal: bool) -> None:
    torch.manual_seed(0)
    attention = HeadedAttention(6, 3).double()
    x, y = torch.randn(4, 2, 6).double(), torch.randn(5, 2, 6).double()
    mask = torch.arange(5)[:, None] >= torch.tensor([5, 3])
    keys, values = attention.keys_and_values(x if causal else y)
    found, weights = attention(x, keys, values, None if causal else mask, causal=causal)
    known = (keys.view(-1, 2, 3, 2), values.view(-1, 2, 3, 2))
    q, k, v = (part.permute(1, 2, 0, 3) for part in (attention.query(x).view(4, 2, 3, 2), *known))
    allowed = None if causal else ~mask.t()[:, None, None]
    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=causal)
    torch.testing.assert_close(found, attention.output(heads.permute(2, 0, 1, 3).flatten(2)))
    scores = q @ k.transpose(-1, -2) / 2**0.5
    later = torch.ones(4, len(keys)).triu(1).bool()
    shares = scores.masked_fill(later if causal else mask.t()[:, None, None], -torch.inf).softmax(-1)
    torch.testing.assert_close(weights, shares.mean(1).transpose(0, 1))


def test_positions_are_exact_in_half_precision() -> None:
    model = model_of(system="transformer-sru", attention_heads=2, num_layers=1)
    nothing = torch.zeros(400, 1, 6)
    found = model._add_positions(nothing.bfloat16(), 0)
    torch.testing.assert_close(found, model._add_positions(nothing, 0).bfloat16(), rtol=0, atol=0)


def test_a_layer_equals_its_equations() -> None:
    model, (source, _, _) = model_of(system="transformer-sru", attention_heads=2, num_layers=1), batch()
    x = model.source_embedding(source) * 6**0.5
    angles = torch.arange(5)[:, None] / 10_000.0 ** (torch.arange(3) / 2)
    x = x + torch.cat([angles.sin(), angles.cos()], 1).double()[:, None]
    (layer,) = model.encoder
    given = layer.norm(x)
    x = x + layer.attention(given, *layer.attention.keys_and_values(given))[0]
    u = layer.sru.transform(layer.sru_norm(x)).unflatten(-1, (3, -1))
    v, bias = layer.sru.weight_c.view(2, -1), layer.sru.bias.view(2, -1)
    c, outputs = torch.zeros(3, 4, dtype=torch.float64), []
    for step in u:
        f, r = (torch.sigmoid(step[:, gate + 1] + v[gate] * c + bias[gate]) for gate in (0, 1))
        c = f * c + (1 - f) * step[:, 0]
        outputs.append(r * c)
    wanted = model.encoder_norm(x + layer.back(torch.stack(outputs)))
    memory = model.encode(source)
    torch.testing.assert_close(memory.values[0], model.decoder[0].source_attention.keys_and_values(wanted)[1])
