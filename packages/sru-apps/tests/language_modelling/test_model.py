"""The language model reads a text in pieces as it would read it whole."""

from __future__ import annotations

import pytest
import torch

from sru_apps.language_modelling.model import RecurrentLanguageModel, detach


@pytest.mark.parametrize("encoder", ["sru", "lstm", "gru"])
def test_pieces_with_the_state_carried_over(encoder):
    torch.manual_seed(0)
    model = RecurrentLanguageModel(11, encoder=encoder, embedding_size=4, hidden_size=5)
    ids = torch.randint(11, (9, 3))
    whole, _ = model(ids)
    assert whole.shape == (9, 3, 11)
    first, state = model(ids[:4])
    rest, _ = model(ids[4:], detach(state))
    torch.testing.assert_close(torch.cat([first, rest]), whole)


@pytest.mark.parametrize("encoder", ["sru", "lstm", "gru"])
def test_detach_ends_the_gradient(encoder):
    model = RecurrentLanguageModel(11, encoder=encoder, embedding_size=4, hidden_size=5)
    _, state = model(torch.randint(11, (2, 3)))
    detached = detach(state)
    tensors = [detached] if isinstance(detached, torch.Tensor) else list(detached)
    assert not any(tensor.requires_grad for tensor in tensors)


def test_dropout_is_off_in_evaluation():
    model = RecurrentLanguageModel(11, embedding_size=4, hidden_size=5, dropout=0.5)
    ids = torch.randint(11, (6, 3))
    assert not torch.equal(model(ids)[0], model(ids)[0])
    model.eval()
    assert torch.equal(model(ids)[0], model(ids)[0])
