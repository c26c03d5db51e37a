"""Adaptive layers against PyTorch's own adaptive softmax, and against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sru_apps.nn.adaptive import AdaptiveEmbedding, AdaptiveSoftmax, default_cutoffs
from sru_data.loaders import IGNORE

CUTOFFS = (3, 7)


def softmax_pair():
    torch.manual_seed(0)
    oracle = nn.AdaptiveLogSoftmaxWithLoss(8, 12, CUTOFFS, div_value=2.0).double()
    layer = AdaptiveSoftmax(8, 12, cutoffs=CUTOFFS, shrink=2).double()
    with torch.no_grad():
        head = oracle.head.weight
        layer.weights[0].copy_(head[:3])
        layer.cluster.weight.copy_(head[3:])
        for k, (down, up) in enumerate(oracle.tail):
            layer.projections[k].weight.copy_(down.weight)
            layer.weights[k + 1].copy_(up.weight)
    return oracle, layer


def test_log_probabilities_are_those_of_torch():
    oracle, layer = softmax_pair()
    x = torch.randn(5, 8, dtype=torch.float64)
    log_probabilities = layer(x)
    torch.testing.assert_close(log_probabilities, oracle.log_prob(x))
    torch.testing.assert_close(log_probabilities.exp().sum(-1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(layer(x.view(5, 1, 8)), log_probabilities.view(5, 1, 12))


def test_losses_and_gradients_are_those_of_torch():
    oracle, layer = softmax_pair()
    x = torch.randn(20, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(12, (20,))
    actual, wanted = layer.loss(x, targets), -oracle(x, targets).output
    torch.testing.assert_close(actual, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(actual.sum(), (x, layer.weights[0], layer.projections[1].weight)),
        tuple(
            part[: len(like)]
            for part, like in zip(
                torch.autograd.grad(wanted.sum(), (x, oracle.head.weight, oracle.tail[1][0].weight)),
                (x, layer.weights[0], layer.projections[1].weight),
                strict=True,
            )
        ),
    )


def test_targets_that_are_not_scored():
    _, layer = softmax_pair()
    x = torch.randn(6, 8, dtype=torch.float64)
    targets = torch.tensor([0, IGNORE, 5, IGNORE, 11, 2])
    nll = layer.loss(x, targets)
    assert (nll[[1, 3]] == 0).all()
    torch.testing.assert_close(nll[[0, 2, 4, 5]], layer.loss(x, targets.clamp(min=0))[[0, 2, 4, 5]])


def test_every_parameter_has_a_gradient_though_no_rare_symbol_comes():
    embedding = AdaptiveEmbedding(12, 8, cutoffs=CUTOFFS, shrink=2)
    layer = AdaptiveSoftmax(8, 12, cutoffs=CUTOFFS, shrink=2)
    ids = torch.tensor([0, 1, 2])
    layer.loss(embedding(ids), ids).sum().backward()
    parameters = [*embedding.parameters(), *layer.parameters()]
    assert all(parameter.grad is not None for parameter in parameters)


def test_embedding():
    torch.manual_seed(0)
    embedding = AdaptiveEmbedding(12, 8, cutoffs=CUTOFFS, shrink=2)
    x = embedding(torch.arange(12).view(3, 4))
    assert x.shape == (3, 4, 8)
    first, second, third = embedding.embeddings
    rows = [first.weight, *(p(e.weight) for p, e in zip(embedding.projections, (second, third), strict=True))]
    torch.testing.assert_close(x.view(12, 8), torch.cat(rows))
    assert [e.weight.shape for e in embedding.embeddings] == [(3, 8), (4, 4), (5, 2)]


def test_tied_weights_are_the_same_parameters():
    embedding = AdaptiveEmbedding(12, 8, cutoffs=CUTOFFS, shrink=2)
    layer = AdaptiveSoftmax(8, 12, cutoffs=CUTOFFS, shrink=2, tied=embedding)
    assert all(w is e.weight for w, e in zip(layer.weights, embedding.embeddings, strict=True))


def test_default_cutoffs_of_wikitext_103():
    assert default_cutoffs(267_735) == (20_080, 60_240)
    with pytest.raises(ValueError, match="a vocabulary of 13 is too small for an adaptive embedding"):
        default_cutoffs(13)


@pytest.mark.parametrize(
    ("cutoffs", "shown"), [((7, 3), "7, 3"), ((0, 3), "0, 3"), ((3, 12), "3, 12"), ((), "none")]
)
def test_cutoffs_must_rise(cutoffs, shown):
    with pytest.raises(ValueError, match=f"cutoffs must rise .* the vocabulary's 12, got {shown}"):
        AdaptiveEmbedding(12, 8, cutoffs=cutoffs)


def test_every_cluster_needs_features():
    with pytest.raises(ValueError, match="8 features are too few for 3 clusters that shrink by 4"):
        AdaptiveSoftmax(8, 12, cutoffs=CUTOFFS, shrink=4)
