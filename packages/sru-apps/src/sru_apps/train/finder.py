"""`--find-lr`: find a learning rate for the model and the data of a run, without starting the run.

Lightning's `Tuner.lr_find` takes the slope of the loss over the rate, not over its logarithm, and corrects
the bias of its smoothed loss with the wrong power, which halves the loss of the first steps: for
`sru classify fit --recipe sst2` it suggests 6e-6.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytorch_lightning as lightning
from pytorch_lightning import Callback, LightningModule, Trainer

from sru_apps.train.errors import UserError
from sru_apps.train.meters import batch_loss
from sru_apps.train.pictures import draw_curves

if TYPE_CHECKING:
    from sru_apps.train.job import Fit

LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 150
"""The first and the last learning rate, and the steps from one to the other."""
_SMOOTHING = 0.9
_DIVERGED = 3.0
"""The multiple of the lowest loss at which trying higher rates is pointless."""
_SKIPPED = 10
"""Initial steps, whose loss is the mean of only a few batches."""


class RisingRate(Callback):
    """Raise the learning rate by the same factor each step, and record the loss.

    Attributes:
        rates: The rate of each step.
        losses: The mean loss up to each step, with a decay of a tenth per step.
    """

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._sum = self._weight = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the rate."""
        rate = LOWEST * (HIGHEST / LOWEST) ** (trainer.global_step / (STEPS - 1))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the loss, and stop when training has diverged."""
        value = float(batch_loss(trainer, outputs))
        self._sum = _SMOOTHING * self._sum + value
        self._weight = _SMOOTHING * self._weight + 1
        if trainer.global_step > len(self.rates) and math.isfinite(value):
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
            self.losses.append(self._sum / self._weight)
        if not math.isfinite(value) or self._sum / self._weight > _DIVERGED * min(
            self.losses, default=math.inf
        ):
            trainer.should_stop = True


def last_good(losses: list[float]) -> int | None:
    """Return the last index whose loss is within a tenth of the lowest; None if losses never fall."""
    later = losses[_SKIPPED:]
    if not later or min(later) >= later[0]:
        return None
    return max(place for place, loss in enumerate(losses) if loss <= 1.1 * min(later))


def find_learning_rate(job: Fit) -> None:
    """Train a few steps with a rising learning rate, and print a tenth of the highest rate that works.

    Args:
        job: The job, set up; its weights are unusable afterwards.

    Raises:
        UserError: The loss never falls.
    """
    options = job.options.trainer
    kept = ("accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val")
    if job.origin is None:
        job.module.start(job.data)
    job.module.optimizer = replace(job.module.optimizer, schedule="constant", warmup_steps=0)
    rising = RisingRate()
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            **{name: options[name] for name in (*kept, "gradient_clip_algorithm")},
            devices=1,
            max_epochs=-1,
            max_steps=STEPS,
            limit_val_batches=0,
            callbacks=[rising],
            enable_model_summary=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            logger=False,
            default_root_dir=folder,
        )
        trainer.fit(job.module, job.data)
    place = last_good(rising.losses)
    if place is None:
        raise UserError(
            f"no learning rate can be suggested: the loss never decreases from {LOWEST:g} to {HIGHEST:g}; "
            "check the data and the model options"
        )
    highest = rising.rates[place]
    rate = highest / 10
    curves = {
        "training loss, smoothed": [rising.rates, rising.losses],
        f"begins to diverge: {highest:.2g}": [[highest], [rising.losses[place]]],
    }
    picture = job.run.path.parent / "learning_rates.png"
    title = job.history.title.rpartition(" · ")[0]
    draw_curves(picture, "learning rate", {"loss": curves}, title=title, log_x=True)
    print(
        f"Suggested learning rate: {rate:.2g}, a tenth of the rate above which the loss rises, in "
        f"{len(rising.rates)} steps from {LOWEST:g} to {rising.rates[-1]:.2g}.\n"
        f"Train with: --lr {rate:.2g}\n"
        f"Picture: {picture}"
    )
