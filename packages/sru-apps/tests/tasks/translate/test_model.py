"""All systems: steps, padding, batching, gradients; the effect of options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sru_apps.nn import select_streams
from sru_apps.nn.encoders import ENCODERS
from sru_data.loaders import IGNORE

from .cases import LENGTHS, SYSTEMS, TARGETS, batch, config_of, model_of


@pytest.mark.parametrize("name", SYSTEMS)
def test_steps_of_several_hypotheses_equal_decode(name: str) -> None:
    model, (source, mask, target) = model_of(**SYSTEMS[name]), batch()
    other = target.flip(1)
    memory = model.encode(source, mask)
    first, second = (model.output(model.decode(ids, memory)) for ids in (target, other))
    # Both targets of each source in one batch; they are swapped before the fourth symbol.
    state = select_streams(model.start(memory), torch.tensor([0, 0, 1, 1, 2, 2]))
    pairs = torch.stack([target, other], 2)
    for t in range(6):
        if t == 3:
            state = select_streams(state, torch.tensor([1, 0, 3, 2, 5, 4]))
        ids = (pairs[t] if t < 3 else pairs[t].flip(1)).flatten()
        logits, weights, state = model.step(ids, state, memory)
        wanted = torch.stack([first[t], second[t]], 1)
        torch.testing.assert_close(logits, (wanted if t < 3 else wanted.flip(1)).flatten(0, 1))
        assert weights.shape == (6, 5)
        torch.testing.assert_close(weights.sum(1), torch.ones(6, dtype=torch.float64))
        assert not weights[mask.t().repeat_interleave(2, 0)].any()


@pytest.mark.parametrize("name", SYSTEMS)
def test_padding_and_batching_change_nothing(name: str) -> None:
    model, (source, mask, target) = model_of(**SYSTEMS[name]), batch()
    with torch.no_grad():
        model.source_embedding.weight[0] = torch.nan
    ends = [6, 3, 1]
    targets = target.roll(-1, 0).masked_fill(torch.arange(6)[:, None] >= torch.tensor(ends), IGNORE)
    nll, loss = model.loss(source, target, targets, mask, smoothing=0.1)
    loss.sum().backward()
    together = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    alone = []
    for b, (length, end) in enumerate(zip(LENGTHS, ends, strict=True)):
        column = slice(b, b + 1)
        part = model.loss(source[:length, column], target[:end, column], targets[:end, column], smoothing=0.1)
        part[1].sum().backward()
        alone.append(part[0])
    order = (targets != IGNORE).nonzero()[:, 1]
    torch.testing.assert_close(nll[order.argsort(stable=True)], torch.cat(alone))
    for weight_name, weight in model.named_parameters():
        torch.testing.assert_close(together[weight_name], weight.grad)


@pytest.mark.parametrize("name", ["sru", "srupp", "transformer-sru"])
def test_sources_of_a_memory_can_be_selected(name: str) -> None:
    model, (source, mask, target) = model_of(**SYSTEMS[name]), batch()
    memory, chosen = model.encode(source, mask), torch.tensor([2, 0])
    wanted = model.decode(target, memory)[:, chosen]
    found = model.decode(target[:, chosen], select_streams(memory, chosen))
    torch.testing.assert_close(found, wanted)


ONE_STEP = [
    *({"encoder": name} for name in ENCODERS),
    *({**options, "dropout": 0.1, "word_dropout": 0.1} for options in SYSTEMS.values()),
    *(
        {**options, "dropout": 0.1, "variational": True}
        for options in SYSTEMS.values()
        if "system" not in options
    ),
]


@pytest.mark.parametrize(
    "options", ONE_STEP, ids=lambda options: "-".join(map(str, options.values())) or "sru"
)
def test_every_parameter_learns(options: dict[str, Any]) -> None:
    needed = {"projection_size": 4} if options.get("encoder") == "srupp" else {}
    model, (source, mask, target) = model_of(**needed, **options), batch()
    targets = target.roll(-1, 0)

    def loss() -> torch.Tensor:
        return model.loss(source, target, targets, mask)[0].mean()

    before = loss()
    before.backward()
    still = [
        name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    assert not still
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    assert loss() < before
    # In training every dropout is on, and none produces NaN.
    model.train()
    first, second = loss(), loss()
    assert first.isfinite()
    assert first != second


@pytest.mark.parametrize("name", SYSTEMS)
def test_mixed_precision_approximates_the_loss(name: str) -> None:
    if name == "lstm" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("PyTorch has no LSTM in bfloat16 for this processor")
    model, (source, mask, target) = model_of(**SYSTEMS[name]).float(), batch()
    nll, _ = model.loss(source, target, target.roll(-1, 0), mask)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = model.loss(source, target, target.roll(-1, 0), mask)
        mixed.sum().backward()
        memory = model.encode(source, mask)
        model.step(target[0], model.step(target[0], model.start(memory), memory)[2], memory)
    torch.testing.assert_close(mixed, nll, atol=0.05, rtol=0)


def test_the_parameter_count_of_an_encoder_decoder() -> None:
    model = model_of(tie_embeddings="none")
    size, units, ways, decoder = 6, 4, 2, 8
    embeddings = 11 * size + 2 * TARGETS * size

    def sru(inputs: int, outputs: int) -> int:
        return (3 if inputs == outputs else 4) * inputs * outputs + 4 * outputs

    encoder = sru(size, ways * units) + sru(ways * units, ways * units)
    layers = sru(size, decoder) + sru(decoder + ways * units, decoder)
    attention, bridge = ways * units * decoder, (ways * units + 1) * 2 * decoder
    combine = (decoder + ways * units) * size
    assert sum(map(torch.numel, model.parameters())) == sum(
        (embeddings, encoder, layers, attention, bridge, combine)
    )


def test_tied_embeddings() -> None:
    for tied, joint in (("none", True), ("target", True), ("all", True)):
        model = model_of(tie_embeddings=tied, joint=joint, source_vocab_size=TARGETS)
        target, output = model.target_embedding.weight, model.output.weight
        assert (output is target) == (tied != "none")
        assert (model.source_embedding is model.target_embedding) == (tied == "all")
        # Tied or not, the input of the layers has unit variance.
        assert float(target.detach().std()) * 6**0.5 == pytest.approx(1, abs=0.25)


def test_word_dropout_drops_whole_symbols() -> None:
    model = model_of(word_dropout=0.4, dropout=0.0)
    ids = torch.arange(TARGETS).repeat(40).view(40, TARGETS)
    kept = model.train().embed(model.target_embedding, ids) / model.eval().embed(model.target_embedding, ids)
    assert ((kept == 0).all(-1) | kept.sub(1 / 0.6).abs().lt(1e-9).all(-1)).all()
    assert 0.3 < (kept[..., 0] == 0).double().mean() < 0.5


def test_variational_dropout_uses_one_mask_per_sentence() -> None:
    for decoder in ("gru", "sru"):
        model = model_of(decoder=decoder, encoder=decoder, variational=True, dropout=0.5).train()
        kinds = {type(module).__name__ for module in model.modules() if isinstance(module, nn.Dropout)}
        assert "SequenceDropout" in kinds
        inside = [cell.rnn_dropout for cell in model.modules() if type(cell).__name__ == "SRUCell"]
        assert inside == ([0.5] * 4 if decoder == "sru" else [])


def test_defaults_of_dropout() -> None:
    model = model_of(**SYSTEMS["transformer-sru"], dropout=0.3)
    assert (model.output_dropout.p, model.decoder[0].sru.dropout) == (0.3, 0.3)
    model = model_of(
        **SYSTEMS["transformer-sru"], dropout=0.3, output_dropout=0.0, sru_dropout=0.1, alignment_dropout=0.2
    )
    layer = model.decoder[0]
    assert (model.output_dropout.p, layer.sru.dropout, layer.sru.rnn_dropout) == (0.0, 0.1, 0.1)
    assert (layer.dropout.p, layer.attention.dropout.p, layer.source_attention.dropout.p) == (0.3, 0.2, 0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "mingru"}, "decoder must be one of sru, srupp, lstm, gru, got 'mingru'"),
        ({"encoder": "rnn"}, "unknown recurrent encoder 'rnn'"),
        ({"target_vocab_size": 3}, "target_vocab_size must be at least 4, got 3"),
        ({"joint": True}, "a joint vocabulary has one size, got 11 and 13"),
        ({"tie_embeddings": "all"}, "tie_embeddings=all needs a joint vocabulary; prepare the data with one"),
        ({"decoder_layers": 1}, "the attention bahdanau needs at least 2 decoder layers, got 1"),
        (
            {"decoder": "lstm", "encoder": "gru", "layer_norm": True},
            "the encoder 'gru' has no option layer_norm",
        ),
        (
            {"system": "transformer-sru", "decoder": "gru"},
            "system 'transformer-sru' has no option decoder, which belongs to encoder-decoder; leave it out",
        ),
        (
            {"system": "transformer-sru", "encoder": "gru"},
            "consists of SRUs, got the encoder 'gru'; leave it",
        ),
        (
            {"sru_dropout": 0.1},
            "'encoder-decoder' has no option sru_dropout, which belongs to transformer-sru",
        ),
        ({"attention_heads": 2}, "'encoder-decoder' has no option attention_heads, which belongs to"),
        *(
            ({"system": "transformer-sru", name: value}, f"'transformer-sru' has no option {name}, which")
            for name, value in [
                *(("decoder_size", 8), ("residual", True), ("attention", "luong"), ("score", "dot")),
                ("variational", True),
            ]
        ),
        (
            {"system": "transformer-sru", "layer_norm": True},
            "transformer-sru has no option layer_norm; leave",
        ),
        ({"alpha": 11.0}, "alpha must be at least 0 and at most 10, got 11"),
        ({"alpha": 0.6, "length_penalty": "none"}, "alpha is the exponent of .* got 0.6 with none"),
        (
            {"system": "transformer-sru", "attention_heads": 4},
            "attention_heads must divide embedding_size=6, got 4",
        ),
        (
            {"system": "transformer-sru", "bidirectional": True, "hidden_size": 5, "attention_heads": 2},
            "a bidirectional transformer-sru needs an even hidden_size, got 5; each direction has half",
        ),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(**options)


def test_cell_options_reach_the_cells_that_have_them() -> None:
    model = model_of(encoder="lstm", decoder="sru", layer_norm=True, highway_bias=-1.0)
    cells = [module for module in model.modules() if type(module).__name__ == "SRUCell"]
    assert [cell.layer_norm is not None for cell in cells] == [True, True]
    assert config_of(decoder="srupp", encoder="gru", num_heads=2).options_of("srupp").num_heads == 2
