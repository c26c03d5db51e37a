"""The equations of the encoder-decoder: attention, its position, and the initial state."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sru_apps.tasks.translate.attention import SourceAttention

from .cases import LENGTHS, batch, model_of


@pytest.mark.parametrize("score", ["dot", "general", "concat"])
def test_attention_is_an_average_weighted_by_the_score(score: Any) -> None:
    torch.manual_seed(0)
    sizes = (3, 3) if score == "dot" else (2, 3)
    attention = SourceAttention(*sizes, score=score).double()
    query, m = torch.randn(3, 4, sizes[0]).double(), torch.randn(5, 3, 3).double()
    mask = torch.arange(5)[:, None] >= torch.tensor(LENGTHS)
    m = m.masked_fill(mask[..., None], 0.0)
    found, weights = attention(query, attention.keys(m), m, mask)
    for b, length in enumerate(LENGTHS):
        for t in range(4):
            q = query[b, t]
            if score == "concat":
                vector, both = attention.combine.weight[0], attention.query.weight @ q
                scores = [vector @ torch.tanh(both + attention.source(m[j, b])) for j in range(length)]
            else:
                scores = [q @ attention.source(m[j, b]) / sizes[0] ** 0.5 for j in range(length)]
            shares = torch.stack(scores).softmax(0)
            torch.testing.assert_close(weights[b, t, :length], shares)
            torch.testing.assert_close(found[b, t], sum(a * m[j, b] for j, a in enumerate(shares)))
        assert not weights[b, :, length:].any()


@pytest.mark.parametrize("score", ["dot", "general"])
def test_scores_start_with_unit_variance(score: Any) -> None:
    torch.manual_seed(0)
    attention = SourceAttention(64, 64, score=score)
    query, m = torch.randn(1, 100, 64), torch.randn(100, 1, 64)
    assert 0.8 < float((query[0] @ attention.keys(m)[:, 0].t()).detach().std()) < 1.2


def test_dropout_does_not_change_the_returned_weights() -> None:
    torch.manual_seed(0)
    attention = SourceAttention(3, 3, score="dot", dropout=0.5)
    query, m = torch.randn(2, 4, 3), torch.randn(5, 2, 3)
    found, weights = attention(query, m, m)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4))
    assert not torch.allclose(found, torch.bmm(weights, m.transpose(0, 1)))
    torch.testing.assert_close(attention.eval()(query, m, m)[0], torch.bmm(weights, m.transpose(0, 1)))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("kind", ["bahdanau", "luong"])
def test_the_position_of_attention(kind: str, residual: bool) -> None:
    model, (source, mask, target) = model_of(attention=kind, residual=residual, num_layers=3), batch()
    assert model.encoder.residual == residual
    memory = model.encode(source, mask)
    x = model.target_embedding(target) * 6**0.5

    def attend(h: torch.Tensor) -> torch.Tensor:
        return model.attention(h.transpose(0, 1), memory.keys[0], memory.values[0], mask)[0].transpose(0, 1)

    h, below, found = x, None, None
    for layer, state in zip(model.layers, model.start(memory), strict=True):
        given = torch.cat([h, found], -1) if found is not None else h
        below, h = h, layer(given, state=state)[0]
        if residual and layer is not model.layers[0]:
            h = h + below
        if kind == "bahdanau" and found is None:
            found = attend(h)
    found = attend(h) if found is None else found
    wanted = torch.tanh(model.combine(torch.cat([h, found], -1)))
    torch.testing.assert_close(model(source, target, mask), wanted)


@pytest.mark.parametrize("decoder", ["sru", "srupp", "gru", "lstm"])
def test_the_initial_state_depends_on_both_ends_of_the_source(decoder: str) -> None:
    needed = {"projection_size": 4} if decoder == "srupp" else {}
    model, (source, mask, _) = model_of(decoder=decoder, encoder="gru", **needed), batch()
    memory = model.encode(source, mask)
    m = memory.values[0]
    ends = torch.stack([torch.cat([m[n - 1, b, :4], m[0, b, 4:]]) for b, n in enumerate(LENGTHS)])
    # The output of a GRU is its state, so these are the last states of both directions.
    for direction, place in ((0, slice(0, 4)), (1, slice(4, 8))):
        x = model.embed(model.source_embedding, source[: LENGTHS[2], 2:])
        first, _ = model.encoder.layers[0](x)
        _, last = model.encoder.layers[1](first)
        torch.testing.assert_close(ends[2, place], last[direction, 0])
    vectors = model.bridge(ends).unflatten(-1, (2, -1))
    for number, state in enumerate(model.start(memory)):
        vector = vectors[:, number].unsqueeze(0)
        if decoder == "lstm":
            torch.testing.assert_close(torch.cat(state, -1), torch.tanh(vector))
        elif decoder == "srupp":
            torch.testing.assert_close(state.c, vector)
            assert state.caches[0].keys.shape == (3, 1, 0, 4)
        else:
            torch.testing.assert_close(state, torch.tanh(vector) if decoder == "gru" else vector)


def test_dot_needs_equal_sizes() -> None:
    with pytest.raises(ValueError, match="needs a decoder_size equal to the encoder's output size, 8, got 5"):
        model_of(score="dot", decoder_size=5)
