"""Training carries the state within an epoch, starts anew at the next, and measures in bits."""

from __future__ import annotations

import math

import pytorch_lightning as lightning
import torch
from torch.nn import functional as F

from sru_apps.language_modelling.data import TextStreams
from sru_apps.language_modelling.module import LanguageModelModule
from sru_apps.training.console import quiet_lightning


def fit(module, ids, **options):
    quiet_lightning()
    streams = TextStreams(ids, batch_size=2, length=5)
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(module, streams, streams)
    return trainer


def test_the_state_is_carried_within_an_epoch_only():
    seen = []
    module = LanguageModelModule(7, embedding_size=4, hidden_size=5)
    module.network.encoder.register_forward_pre_hook(
        lambda _, __, options: seen.append(options["state"] is None) if module.training else None,
        with_kwargs=True,
    )
    fit(module, torch.randint(7, (31,)), max_epochs=2)
    assert seen == [True, False, False] * 2


def test_validation_counts_every_symbol_once_in_bits():
    torch.manual_seed(0)
    module = LanguageModelModule(7, embedding_size=4, hidden_size=5, learning_rate=1e-9)
    ids = torch.randint(7, (25,))  # the last segment is shorter than the others
    trainer = fit(module, ids, max_epochs=1)
    whole = TextStreams(ids, batch_size=2, length=100)
    (segment,) = whole
    with torch.no_grad():
        logits, _ = module.eval().network(segment.inputs)
    nats = F.cross_entropy(logits.flatten(0, 1), segment.targets.flatten()).item()
    torch.testing.assert_close(
        trainer.callback_metrics["validation_bits"].item(), nats / math.log(2), rtol=1e-4, atol=0
    )


def test_training_learns_a_repeating_text():
    torch.manual_seed(0)
    module = LanguageModelModule(7, embedding_size=8, hidden_size=16, learning_rate=2e-2)
    trainer = fit(module, torch.arange(7).repeat(40), max_epochs=6, gradient_clip_val=1.0)
    assert trainer.callback_metrics["validation_bits"] < 0.2
