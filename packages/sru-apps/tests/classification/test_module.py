from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sru_apps.classification.data import Batch
from sru_apps.classification.module import ClassifierModule


@pytest.fixture
def module() -> ClassifierModule:
    torch.manual_seed(0)
    return ClassifierModule(vocab_size=7, embedding_size=4, label_names=["no", "yes", "maybe"], hidden_size=5)


@pytest.fixture
def batch() -> Batch:
    ids = torch.tensor([[2, 3, 4], [5, 6, 0]])
    return Batch(ids, ids == 0, torch.tensor([0, 2, 1]))


def test_hyperparameters_are_plain_and_build_the_same_module(module: ClassifierModule) -> None:
    settings = dict(module.hparams)
    assert settings["label_names"] == ["no", "yes", "maybe"]
    assert {type(value) for value in settings.values()} <= {int, float, str, bool, list}
    assert ClassifierModule(**settings).network.config == module.network.config
    assert module.network.config.num_classes == 3


def test_loss_is_the_cross_entropy(module: ClassifierModule, batch: Batch) -> None:
    module.eval()
    logits = module.network(batch.ids, batch.mask)
    torch.testing.assert_close(module.training_step(batch, 0), F.cross_entropy(logits, batch.labels))


def test_pretrained_vectors_are_copied_and_tuned(module: ClassifierModule) -> None:
    weight = torch.arange(28.0).view(7, 4)
    module.use_vectors(weight)
    assert torch.equal(module.network.embedding.weight, weight)
    assert module.network.embedding.weight.requires_grad


def test_checkpoint_names_the_task(module: ClassifierModule) -> None:
    checkpoint: dict[str, object] = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint == {"task": "classify"}
