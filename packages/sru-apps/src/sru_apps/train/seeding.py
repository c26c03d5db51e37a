"""Random numbers that depend only on the place in training.

A generator's state in the checkpoint would not do: a resumed run must equal an undisturbed one even where
validation or a logger has drawn numbers in between.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


def place_seed(*place: int) -> int:
    """Mix numbers into a seed: 63 bits that share nothing with those of a neighbouring place."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class SeedEveryStep(Callback):
    """Seed torch's generators from (seed, epoch, batch) before every training step, on each rank differently.

    Dropout is then a function of the step and not of what ran before, so that a run continued from a
    checkpoint draws what the undisturbed run would have drawn.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed for this step."""
        rank = [trainer.global_rank] if trainer.global_rank else []
        place = place_seed(self.seed, trainer.current_epoch, batch_idx, *rank)
        if pl_module.device.type == "cpu":
            # torch.manual_seed also queues a call, with a traceback, for each kind of device not in use: that
            # takes a millisecond, and the queues grow with every step.
            torch.default_generator.manual_seed(place)
        else:
            torch.manual_seed(place)
