"""The network and its loss: padding, short utterances, streaming."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sru_apps.decoding.ctc import Greedy
from sru_apps.tasks.speech.checks import too_short
from sru_apps.tasks.speech.model import SpeechConfig, SpeechModel, ctc_losses, needed_outputs

FEATURES, SYMBOLS = 5, 6
STREAMING = ["sru", "srupp", "lstm", "gru", "ligru", "sligru", "mingru", "gated-linear"]


def build(**options: Any) -> SpeechModel:
    torch.manual_seed(0)
    sizes = {"input_size": FEATURES, "vocab_size": SYMBOLS, "hidden_size": 6, "num_layers": 2}
    model = SpeechModel(SpeechConfig(**{**sizes, "subsampling": 2, **options})).eval()
    model.normalize_by(torch.linspace(-1, 1, FEATURES), torch.linspace(0.5, 2, FEATURES))
    return model


def batch(lengths: list[int]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return utterances separately and as a batch with NaN as padding."""
    generator = torch.Generator().manual_seed(1)
    alone = [torch.randn(length, 1, FEATURES, generator=generator) for length in lengths]
    features = torch.full((max(lengths), len(lengths), FEATURES), torch.nan)
    for column, row in enumerate(alone):
        features[: len(row), column] = row[:, 0]
    return alone, features, torch.arange(max(lengths))[:, None] >= torch.tensor(lengths)


TARGETS = torch.tensor([[2, 3, 3], [4, 5, 0], [2, 0, 0]])
TARGET_LENGTHS = torch.tensor([3, 2, 1])


@pytest.mark.parametrize("subsampling", [2, 4])
def test_padding_changes_nothing(subsampling: int) -> None:
    model = build(subsampling=subsampling, bidirectional=True)
    alone, features, mask = batch([20, 15, 9])
    logits, shorter = model(features, mask)
    losses, fits = ctc_losses(logits, shorter, TARGETS, TARGET_LENGTHS)
    assert fits.all()
    losses.sum().backward()
    together = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    for column, row in enumerate(alone):
        outputs, none = model(row)
        count = int(TARGET_LENGTHS[column])
        loss, _ = ctc_losses(
            outputs, none, TARGETS[column : column + 1, :count], TARGET_LENGTHS[column : column + 1]
        )
        loss.sum().backward()
        torch.testing.assert_close(losses[column], loss[0])
        torch.testing.assert_close(logits[: len(outputs), column], outputs[:, 0])
    for grad, weight in zip(together, model.parameters(), strict=True):
        torch.testing.assert_close(grad, weight.grad)


def test_features_are_normalised_by_mean_and_scale() -> None:
    model, x = build(subsampling=1), torch.randn(7, 1, FEATURES)
    plain = build(subsampling=1)
    plain.normalize_by(torch.zeros(FEATURES), torch.ones(FEATURES))
    shifted = (x - torch.linspace(-1, 1, FEATURES)) / torch.linspace(0.5, 2, FEATURES)
    torch.testing.assert_close(model(x)[0], plain(shifted)[0])
    assert {"mean", "scale"} <= set(model.state_dict())


def test_a_too_short_utterance_has_no_loss_and_no_gradient() -> None:
    model = build(bidirectional=False)
    _, features, mask = batch([20, 7])
    # Three symbols with one repetition need four outputs; 7 frames give four, 6 frames give three.
    targets, lengths = torch.tensor([[2, 3, 3], [2, 2, 3]]), torch.tensor([3, 3])
    assert needed_outputs(targets, lengths).tolist() == [4, 4]
    losses, fits = ctc_losses(*model(features, mask), targets, lengths)
    assert fits.all()
    assert losses[1] > 0
    losses, fits = ctc_losses(
        *model(features[:, 1:], mask[:, 1:] | (torch.arange(20) >= 6)[:, None]), targets[1:], lengths[1:]
    )
    assert fits.tolist() == [False]
    assert losses.tolist() == [0]
    losses.sum().backward()
    assert all(not weight.grad.any() for weight in model.parameters())


def test_too_short() -> None:
    frames = torch.tensor([4, 5, 8, 9, 1])
    targets = [torch.tensor(numbers) for numbers in ([2, 3], [2, 3], [2, 2], [2, 2], [])]
    assert too_short(frames, targets, subsampling=4).tolist() == [True, False, True, False, False]
    assert too_short(frames, targets, subsampling=4, fastest=1.2).tolist() == [True, True, True, True, False]


@pytest.mark.parametrize("encoder", STREAMING)
@settings(max_examples=4)
@given(cuts=st.lists(st.integers(0, 23), max_size=6), factor=st.sampled_from([1, 2, 4]))
def test_streaming_in_pieces_of_any_size_equals_the_whole(encoder: str, cuts: list[int], factor: int) -> None:
    model = build(encoder=encoder, bidirectional=False, subsampling=factor)
    features = torch.randn(23, 2, FEATURES, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole, _ = model(features)
        state, found = model.start(2), []
        for first, last in pairwise([0, *sorted(cuts), 23]):
            outputs, state = model.stream(features[first:last], state)
            found.append(outputs)
        found.append(model.stream(features[:0], state, last=True)[0])
    streamed = torch.cat(found).log_softmax(-1)
    torch.testing.assert_close(streamed, whole.log_softmax(-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"bidirectional": True},
            "a bidirectional model needs the whole utterance and cannot stream",
        ),
        ({"classify": True, "bidirectional": False}, "a classifier needs whole clips and cannot stream"),
    ],
)
def test_models_that_cannot_stream(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options).start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subsampling": 3}, "subsampling must be 1, 2 or 4, got 3"),
        ({"beam": 0}, "beam must be at least 1, got 0"),
        ({"vocab_size": 1}, "vocab_size must be at least 2, got 1"),
        ({"encoder": "lstm", "layer_norm": True}, "the encoder 'lstm' has no option layer_norm"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_labels_are_scored_without_padding() -> None:
    model = build(classify=True)
    alone, features, mask = batch([20, 15, 9])
    logits, _ = model(features, mask)
    assert logits.shape == (3, SYMBOLS - 2)
    for column, row in enumerate(alone):
        torch.testing.assert_close(logits[column], model(row)[0][0])


def test_masks_are_applied_only_in_training() -> None:
    model, x = (
        build(subsampling=1, dropout=0.0, time_masks=2, frequency_masks=1),
        torch.randn(30, 2, FEATURES),
    )
    seen: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for training in (True, False):
        model.train(training)(x)
    hidden, whole = seen
    assert (hidden == 0).any()
    assert not (whole == 0).any()
    torch.testing.assert_close(hidden[hidden != 0], whole[hidden != 0])


def test_a_model_learns_to_transcribe() -> None:
    model = build(encoder="sligru", hidden_size=16, num_layers=1, bidirectional=False, dropout=0.0).train()
    sounds = torch.randn(SYMBOLS, FEATURES, generator=torch.Generator().manual_seed(3))
    spelled = [[2, 3, 3], [4, 5], [2, 4, 2]]
    numbers = [[number for token in tokens for number in (0, 0, *[token] * 4)] for tokens in spelled]
    features = nn.utils.rnn.pad_sequence([sounds[row] for row in numbers])
    mask = torch.arange(18)[:, None] >= torch.tensor([len(row) for row in numbers])
    targets = torch.tensor([[2, 3, 3], [4, 5, 0], [2, 4, 2]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        losses, _ = ctc_losses(*model(features, mask), targets, torch.tensor([3, 2, 3]))
        losses.sum().backward()
        optimizer.step()
    logits, shorter = model.eval()(features, mask)
    assert shorter is not None
    lengths = (~shorter).sum(0).tolist()
    heard = [Greedy().feed(column[:length]) for column, length in zip(logits.unbind(1), lengths, strict=True)]
    assert heard == spelled
