from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from sru_apps.nn.encoders import ENCODERS as RECURRENT
from sru_apps.tasks.classify.data import Batch
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_apps.tasks.classify.module import ClassifierModule

CONFIG = ClassifierConfig(vocab_size=11, embedding_size=5, num_classes=3, hidden_size=4, num_maps=6)
ENCODERS = [*RECURRENT, "cnn"]
# SRU++ attends in a quarter of its features, and layer norm maps a single feature to zero.
SIZES = {"srupp": 16}


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
def test_no_mask_equals_a_mask_without_padding(encoder: str) -> None:
    torch.manual_seed(0)
    network = SentenceClassifier(replace(CONFIG, encoder=encoder)).eval()
    ids = torch.randint(1, 11, (7, 4))
    torch.testing.assert_close(network(ids), network(ids, torch.zeros(7, 4, dtype=torch.bool)))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_is_trained(encoder: str) -> None:
    torch.manual_seed(0)
    network = SentenceClassifier(replace(CONFIG, encoder=encoder, hidden_size=SIZES.get(encoder, 4)))
    ids = torch.randint(1, 11, (7, 4))
    torch.nn.functional.cross_entropy(network(ids, ids == 0), torch.tensor([0, 1, 2, 0])).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # Keys and values of SRU++ have no gradient while alpha is zero.
    assert [name for name in idle if not name.endswith("transform.linear2.weight")] == []


@pytest.mark.parametrize("encoder", ENCODERS)
def test_dropout_is_off_in_evaluation(encoder: str) -> None:
    network = SentenceClassifier(replace(CONFIG, encoder=encoder, hidden_size=SIZES.get(encoder, 4)))
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


def test_hyper_parameters_are_plain_values_that_rebuild_the_module(module: ClassifierModule) -> None:
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


@pytest.mark.parametrize("pooling", ["max-mean", "last", "attention"])
@pytest.mark.parametrize("encoder", ["sru", "mingru"])
def test_pooling_ignores_padding(encoder: str, pooling: str) -> None:
    torch.manual_seed(0)
    network = SentenceClassifier(replace(CONFIG, encoder=encoder, pooling=pooling)).eval()
    ids = torch.tensor([[3, 9], [4, 0], [5, 0]])
    alone = torch.tensor([[9]])
    torch.testing.assert_close(network(ids, ids == 0)[1:], network(alone))


def test_pairs_have_the_features_of_both_their_difference_and_product() -> None:
    torch.manual_seed(0)
    network = SentenceClassifier(replace(CONFIG, pairs=True, hidden_size=1, pooling="last")).eval()
    network.output = torch.nn.Identity()
    one, two = torch.tensor([[3], [4]]), torch.tensor([[5]])
    u, v, difference, product = network(one, None, two, None)[0].view(4, 2)
    torch.testing.assert_close(difference, (u - v).abs())
    torch.testing.assert_close(product, u * v)
    assert torch.equal(network(two, None, one, None)[0].view(4, 2)[:2], torch.stack([v, u]))
    with pytest.raises(ValueError, match="this model is for pairs of sentences"):
        network(one)
    with pytest.raises(ValueError, match="this model is for single sentences"):
        SentenceClassifier(CONFIG)(one, None, two)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"encoder": "cnn", "pooling": "last"},
            "the encoder 'cnn' has its own pooling; leave pooling='last' out",
        ),
        ({"encoder": "cnn", "layer_norm": True}, "the encoder 'cnn' has no option layer_norm; leave it out"),
        ({"encoder": "lstm", "layer_norm": True}, "the encoder 'lstm' has no option layer_norm"),
        ({"pooling": "first"}, "pooling must be one of max-mean, last, attention, got 'first'"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and less than 1, got 1.0"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **options)


def test_a_unidirectional_encoder_needs_no_option() -> None:
    assert not SentenceClassifier(replace(CONFIG, encoder="mingru")).config.both_ways
    with pytest.raises(ValueError, match="'mingru' has only one direction"):
        SentenceClassifier(replace(CONFIG, encoder="mingru", bidirectional=True))


@pytest.mark.parametrize("multi_label", [False, True])
def test_class_weights_and_smoothing_enter_the_training_loss(multi_label: bool) -> None:
    config = replace(CONFIG, multi_label=multi_label, label_smoothing=0.2)
    weights = [1.0, 2.0, 3.0]
    module = ClassifierModule(config, label_names=["no", "yes", "maybe"], class_weights=weights).eval()
    ids = torch.tensor([[2, 3], [5, 6]])
    labels = torch.tensor([[True, False, True], [False, False, True]] if multi_label else [0, 2])
    logits = module.network(ids)
    loss = module.training_step(Batch(ids, None, labels), 0)
    p, weight = torch.full((2, 3), 0.2 / 3), torch.tensor(weights)
    if multi_label:
        p = labels * 0.8 + 0.1
        nats = -(weight * p * F.logsigmoid(logits) + (1 - p) * F.logsigmoid(-logits))
        torch.testing.assert_close(loss, nats.mean())
    else:
        p[[0, 1], labels] += 0.8
        nats = -(weight * p * logits.log_softmax(-1)).sum()
        torch.testing.assert_close(loss, nats / weight[labels].sum())
    assert "class_weights" not in module.state_dict()
