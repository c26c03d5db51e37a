from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from sru_apps.tasks.classify.data import Batch
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_apps.tasks.classify.module import ClassifierModule

CONFIG = ClassifierConfig(vocab_size=11, embedding_size=5, num_classes=3, hidden_size=4, num_maps=6)
ENCODERS = ["sru", "lstm", "gru", "cnn"]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_batching_and_padding_change_nothing(encoder: str) -> None:
    torch.manual_seed(0)
    network = SentenceClassifier(replace(CONFIG, encoder=encoder)).eval()
    sentences = [[3, 4, 5, 6, 7, 8], [9], [2, 1, 10]]
    ids = torch.tensor([sentence + [0] * (8 - len(sentence)) for sentence in sentences]).t()
    logits = network(ids, ids == 0)
    assert logits.shape == (3, 3)
    for b, sentence in enumerate(sentences):
        alone = torch.tensor([sentence]).t()
        torch.testing.assert_close(network(alone, alone == 0)[0], logits[b])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_no_mask_is_one_without_padding(encoder: str) -> None:
    torch.manual_seed(0)
    network = SentenceClassifier(replace(CONFIG, encoder=encoder)).eval()
    ids = torch.randint(1, 11, (7, 4))
    torch.testing.assert_close(network(ids), network(ids, torch.zeros(7, 4, dtype=torch.bool)))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_is_trained(encoder: str) -> None:
    torch.manual_seed(0)
    network = SentenceClassifier(replace(CONFIG, encoder=encoder))
    ids = torch.randint(1, 11, (7, 4))
    torch.nn.functional.cross_entropy(network(ids, ids == 0), torch.tensor([0, 1, 2, 0])).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("encoder", ENCODERS)
def test_dropout_is_for_training(encoder: str) -> None:
    network = SentenceClassifier(replace(CONFIG, encoder=encoder))
    ids = torch.randint(1, 11, (7, 4))
    assert not torch.equal(network(ids, ids == 0), network(ids, ids == 0))
    network.eval()
    assert torch.equal(network(ids, ids == 0), network(ids, ids == 0))


@pytest.mark.parametrize("encoder", ["sru", "lstm", "gru"])
@pytest.mark.parametrize(("bidirectional", "features"), [(False, 8), (True, 16)])
def test_directions_double_the_features(encoder: str, bidirectional: bool, features: int) -> None:
    network = SentenceClassifier(replace(CONFIG, encoder=encoder, bidirectional=bidirectional))
    assert network.output.in_features == features


@pytest.fixture
def module() -> ClassifierModule:
    torch.manual_seed(0)
    return ClassifierModule(CONFIG, label_names=["no", "yes", "maybe"])


def test_hyper_parameters_are_plain_and_build_the_same_module(module: ClassifierModule) -> None:
    assert module.hparams["label_names"] == ["no", "yes", "maybe"]
    again = ClassifierModule(**module.hparams)
    assert (again.config, again.optimizer) == (module.config, module.optimizer)
    torch.save(dict(module.hparams), buffer := io.BytesIO())
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True) == dict(module.hparams)


def test_loss_is_the_cross_entropy(module: ClassifierModule) -> None:
    ids = torch.tensor([[2, 3, 4], [5, 6, 0]])
    batch = Batch(ids, ids == 0, torch.tensor([0, 2, 1]))
    module.eval()
    logits = module.network(batch.ids, batch.mask)
    torch.testing.assert_close(module.training_step(batch, 0), F.cross_entropy(logits, batch.labels))
