"""A moving average of the weights, which is validated, tested and exported in their place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sru_apps.train.errors import MisfitError
from sru_apps.train.weights import check_weights


class AveragedWeights(WeightAveraging):
    """Average the weights of all steps, weighting later ones more.

        a_0 = w_0,   a_n = d_n · a_{n−1} + (1 − d_n) · w_n,   d_n = min(decay, (n + 1)/(n + 10))

    Most of the weight is therefore on the last ninth of the steps, and at most on the last 1/(1 − decay) of
    them: an average of the last checkpoints, without storing each. Checkpoints hold the averages as their
    `state_dict`, and also the weights that training continues from.

    Args:
        decay: The maximum share of the average that is kept at each step, from 0 to 1.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992); d_n is
    that of TensorFlow's `ExponentialMovingAverage` with `num_updates`.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=moving_average(decay))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the weights to the device they are trained on."""
        self._device = trainer.strategy.root_device
        with warnings.catch_warnings():
            # Lightning warns about sharding, which `check_choices` refuses.
            warnings.simplefilter("ignore")
            super().setup(trainer, pl_module, stage)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the weights and their averages.

        Raises:
            MisfitError: One of the two is missing, or is not a set of weights.
        """
        for name in ("current_model_state", "averaging_state"):
            if name not in checkpoint:
                raise MisfitError(f"it lacks {name!r}, although its run averages the weights")
        check_weights(checkpoint["current_model_state"])
        super().on_load_checkpoint(trainer, pl_module, checkpoint)


def moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Return the function by which `torch.optim.swa_utils.AveragedModel` updates its averages.

    Args:
        decay: As for `AveragedWeights`.
    """

    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor | int) -> None:
        steps = int(count)
        get_ema_multi_avg_fn(min(decay, (steps + 1) / (steps + 10)))(averages, weights, count)  # type: ignore[no-untyped-call]

    return update
