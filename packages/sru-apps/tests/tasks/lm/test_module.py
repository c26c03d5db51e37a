"""Training carries the state within an epoch, and evaluation scores the whole text."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from sru_apps.tasks.lm.model import LanguageModelConfig
from sru_apps.tasks.lm.module import LanguageModelModule
from sru_apps.train.console import quiet_lightning
from sru_apps.train.optimizers import OptimizerConfig
from sru_data.loaders import Segment, StreamLoader, WindowLoader


def make(vocab_size: int = 7, *, encoder: Any = "sru", unit: Any = "characters", **options: Any):
    torch.manual_seed(0)
    config = LanguageModelConfig(vocab_size=vocab_size, encoder=encoder, embedding_size=4, hidden_size=5)
    return LanguageModelModule(config, OptimizerConfig(**options), unit=unit)


def make_trainer(**options: Any) -> lightning.Trainer:
    quiet_lightning()
    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def fit(module: LanguageModelModule, ids: torch.Tensor, **options: Any) -> lightning.Trainer:
    trainer = make_trainer(**options)
    train = StreamLoader(ids, batch_size=2, length=5)
    trainer.fit(module, train, StreamLoader(ids, batch_size=2, length=5, whole=True))
    return trainer


def test_the_state_is_carried_only_within_an_epoch():
    seen = []
    module = make()
    module.network.encoder.register_forward_pre_hook(
        lambda _, __, options: seen.append(options["state"] is None) if module.training else None,
        with_kwargs=True,
    )
    fit(module, torch.randint(7, (31,)), max_epochs=2)
    assert seen == [True, False, False] * 2


def test_gradients_stop_at_segment_boundaries():
    module = make()
    trainer = make_trainer(max_epochs=1)
    carried = []
    step = module.training_step

    def record(batch: Segment, batch_idx: int):
        carried.append(module._state)
        return step(batch, batch_idx)

    module.training_step = record
    loader = StreamLoader(torch.randint(7, (31,)), batch_size=2, length=5)
    trainer.fit(module, loader, loader)
    assert len(carried) == 3
    assert not any(state.requires_grad for state in carried[1:])


def test_batches_of_other_loaders_are_independent():
    seen = []
    module = make()
    module.network.encoder.register_forward_pre_hook(
        lambda _, __, options: seen.append(options["state"] is None), with_kwargs=True
    )
    ids = torch.randint(7, (3, 4))
    trainer = make_trainer(max_epochs=1)
    batches = [DataLoader([Segment(ids, ids)] * count, batch_size=None) for count in (3, 2)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        trainer.fit(module, *batches)
    assert seen == [True] * 5


@pytest.mark.parametrize("loader", ["streams", "windows"])
def test_every_token_is_scored_once(loader: str):
    module = make().eval()
    ids = torch.randint(7, (26,))
    options = {"batch_size": 2}
    batches = (
        StreamLoader(ids, length=4, whole=True, **options)
        if loader == "streams"
        else WindowLoader(ids, window=8, stride=3, **options)
    )
    trainer = make_trainer()
    trainer.validate(module, batches, verbose=False)
    starts = [0, 13] if loader == "streams" else [max(0, end - 8) for end in [8, 11, 14, 17, 20, 23, 26]]
    nats, scored = 0.0, 0
    for start in starts:
        end = start + 13 if loader == "streams" else start + 8
        text = ids[start : end + 1]
        with torch.no_grad():
            logits, _ = module.network(text[:-1].unsqueeze(1))
        losses = F.cross_entropy(logits[:, 0], text[1:], reduction="none").double()
        losses = losses if loader == "streams" or start == 0 else losses[5:]
        nats, scored = nats + losses.sum().item(), scored + len(losses)
    assert scored == 25
    metrics = trainer.callback_metrics
    assert metrics["validation_loss"].item() == pytest.approx(nats / 25, rel=1e-5)
    assert metrics["validation_bits_per_character"].item() == pytest.approx(nats / 25 / math.log(2), rel=1e-5)


@pytest.mark.parametrize("encoder", ["sru", "srupp", "lstm"])
@pytest.mark.parametrize("length", [4, 30])
def test_documents_are_independent(encoder: str, length: int):
    """After its first token, a document is scored as if it were alone, whatever the segments."""
    module, separator = make(encoder=encoder).eval(), 6
    documents = [torch.cat([torch.randint(6, (size,)), torch.tensor([separator])]) for size in (5, 0, 1, 9)]
    text = torch.cat(documents)
    state, found = None, []
    with torch.no_grad():
        for batch in StreamLoader(text, batch_size=1, length=length, separator=separator, whole=True):
            nll, state = module.network.loss(batch.inputs, batch.targets, state, batch.reset)
            found.append(nll)
        losses = torch.cat([torch.zeros(1, 1), *found]).split([len(document) for document in documents])
        for document, loss in zip(documents, losses, strict=True):
            if len(document) == 1:  # no token after the first
                continue
            alone, _ = module.network.loss(document[:-1, None], document[1:, None])
            torch.testing.assert_close(loss[1:], alone)


@pytest.mark.parametrize("way", ["fit", "validate"])
def test_documents_reach_the_network(way: str):
    seen = []
    module = make()
    module.network.encoder.register_forward_pre_hook(
        lambda _, __, options: seen.append(options["reset"]), with_kwargs=True
    )
    loader = StreamLoader(torch.arange(7).repeat(5), batch_size=2, length=5, separator=3)
    trainer = make_trainer(max_epochs=1)
    if way == "fit":
        trainer.fit(module, loader, loader)
    else:
        trainer.validate(module, loader, verbose=False)
    expected = torch.cat([segment.reset for segment in loader])
    assert torch.equal(torch.cat(seen), expected if way == "validate" else torch.cat([expected, expected]))


def test_training_learns_a_repeating_text():
    module = make(lr=5e-2, schedule="one-cycle")
    trainer = fit(module, torch.arange(7).repeat(40), max_epochs=6, gradient_clip_val=1.0)
    assert trainer.callback_metrics["validation_bits_per_character"] < 0.3


def test_the_loss_is_scaled_by_segment_length_if_lengths_are_random():
    config = LanguageModelConfig(vocab_size=7, embedding_size=4, hidden_size=5)
    torch.manual_seed(0)
    module = LanguageModelModule(config, nominal_length=10)
    ids = torch.randint(7, (5, 3))
    outputs = module.training_step(Segment(ids, ids), 0)
    torch.testing.assert_close(outputs["loss"], outputs["mean_loss"] / 2)
    assert outputs["loss"].requires_grad
    assert not outputs["mean_loss"].requires_grad


def test_padding_changes_no_loss():
    module = make().eval()
    ids = torch.randint(7, (5, 2))
    padded = torch.cat([ids, torch.zeros(3, 2, dtype=torch.int64)])
    ignored = torch.cat([ids, torch.full((3, 2), -100)])
    with torch.no_grad():
        whole = module.training_step(Segment(ids, ids), 0)["loss"]
        torch.testing.assert_close(module.training_step(Segment(padded, ignored), 0)["loss"], whole)
        nothing = module.training_step(Segment(padded, torch.full((8, 2), -100)), 0)["loss"]
    assert nothing == 0


def test_hyper_parameters_are_plain_values_that_rebuild_the_module():
    module = make(name="sgd", momentum=0.5)
    again = LanguageModelModule(**module.hparams)
    assert (again.config, again.optimizer, again.unit) == (module.config, module.optimizer, "characters")
    assert module.hparams["config"] == asdict(module.config)


@pytest.mark.parametrize(
    ("precision", "clip", "fused"),
    [("32-true", 1.0, True), ("bf16-mixed", None, True), ("bf16-mixed", 1.0, None)],
)
def test_the_optimizer_is_fused_unless_lightning_cannot_clip(
    precision: Any, clip: float | None, fused: bool | None
):
    module = make()
    trainer = fit(module, torch.randint(7, (31,)), max_epochs=1, precision=precision, gradient_clip_val=clip)
    assert trainer.optimizers[0].defaults["fused"] is fused
