"""The language model: pieces and steps equal the whole, and the loss matches the logits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sru_apps.nn import detach_state
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_data.loaders import IGNORE

NAMES = ["sru", "srupp", "lstm", "gru", "sligru", "mingru", "gated-linear"]
ADAPTIVE = {"embedding": "adaptive", "output": "adaptive", "cutoffs": (3, 6), "cluster_shrink": 2}
KINDS = [{}, {"tie_weights": True}, ADAPTIVE, {**ADAPTIVE, "tie_weights": True}]


def build(encoder="sru", **options):
    torch.manual_seed(0)
    if encoder == "srupp":
        options.setdefault("projection_size", 4)
    config = LanguageModelConfig(
        vocab_size=11, encoder=encoder, **{"embedding_size": 4, "hidden_size": 5, **options}
    )
    return LanguageModel(config)


@pytest.mark.parametrize("encoder", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_pieces_steps_and_read_equal_the_whole(encoder, training, monkeypatch):
    monkeypatch.setattr("sru_apps.tasks.lm.model._READ_AT_ONCE", 2)
    model = build(encoder).double().train(training)
    ids = torch.randint(11, (9, 3))
    whole, _ = model(ids)
    assert whole.shape == (9, 3, 11)
    first, state = model(ids[:4])
    rest, _ = model(ids[4:], detach_state(state))
    torch.testing.assert_close(torch.cat([first, rest]), whole)
    with torch.inference_mode():
        logits, state = model.read(ids[:5])
        torch.testing.assert_close(logits, whole[4])
        for t in range(5, 9):
            logits, state = model.step(ids[t], state)
            torch.testing.assert_close(logits, whole[t])


@pytest.mark.parametrize("encoder", NAMES)
@pytest.mark.parametrize("options", KINDS)
def test_the_loss_equals_cross_entropy_of_the_logits(encoder, options):
    model = build(encoder, **options).double()
    ids, targets = torch.randint(11, (6, 2)), torch.randint(11, (6, 2))
    targets[2, 1] = IGNORE
    nll, _ = model.loss(ids, targets)
    logits, _ = model(ids)
    wanted = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(6, 2)
    torch.testing.assert_close(nll, wanted)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(nll.mean(), parameters), torch.autograd.grad(wanted.mean(), parameters)
    )


def test_tied_weights():
    model = build(tie_weights=True)
    assert model.output.weight is model.embedding.weight
    assert model.projection.weight.shape == (4, 5)
    assert build(tie_weights=True, hidden_size=4).projection is None


def test_activation_checkpointing_changes_no_gradient():
    ids, targets = torch.randint(11, (6, 2)), torch.randint(11, (6, 2))
    results = []
    for checkpointing in (False, True):
        model = build(activation_checkpointing=checkpointing, dropout=0.4)
        torch.manual_seed(1)
        model.loss(ids, targets)[0].mean().backward()
        results.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize("which", ["dropout", "embedding_dropout", "output_dropout"])
def test_dropout_is_off_in_evaluation(which):
    model = build(**{which: 0.5})
    ids = torch.randint(11, (6, 3))
    assert not torch.equal(model(ids)[0], model(ids)[0])
    model.eval()
    assert torch.equal(model(ids)[0], model(ids)[0])


def test_initial_weights():
    model = build(initial_range=0.02)
    for weight in (model.embedding.weight, model.output.weight):
        assert 0.01 < weight.abs().max() <= 0.02
    assert (model.output.bias == 0).all()


def test_weights_are_initialized_as_in_pytorch_unless_tied():
    model = build()
    assert model.embedding.weight.abs().max() > 1
    assert model.output.bias.abs().min() > 0
    assert build(tie_weights=True).embedding.weight.abs().max() <= 0.1


def test_a_model_on_the_meta_device():
    with torch.device("meta"):
        model = build("srupp", **ADAPTIVE, tie_weights=True)
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    real = build("srupp", **ADAPTIVE, tie_weights=True)
    assert shapes == {name: weight.shape for name, weight in real.named_parameters()}
    assert all(weight.is_meta for weight in model.parameters())
