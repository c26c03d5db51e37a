"""What a resumed run needs to equal an undisturbed one: checkpoints, and random numbers by the step.

Lightning's `TorchCheckpointIO` writes local files in place; `AtomicCheckpointIO` keeps the promise that a
full disk, a kill or a power failure loses nothing: the former checkpoint stays until the new one is on the
disk. Lightning's `ModelCheckpoint` keeps neither of two promises of `RunCheckpoints`: Ctrl-C saves the
present step, and a run folder can be moved, since no path is remembered. A generator's state in a checkpoint
would not do instead of `SeedEveryStep`, where validation or a logger draws numbers in between.
"""

from __future__ import annotations

import hashlib
import io
import operator
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal
from zipfile import ZipFile

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import CheckpointIO

from sru_apps.train.errors import UserError, reading
from sru_data.atomic import atomic_write


class AtomicCheckpointIO(CheckpointIO):
    """Write Lightning's checkpoints through `atomic_write`, and read them without running any code in them.

    Args:
        remedy: What to do when the disk is full.
    """

    def __init__(self, *, remedy: str = "Make room and start again") -> None:
        self.remedy = remedy

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            UserError: The file cannot be written; the checkpoint that was there before is untouched.
        """
        path = Path(path)
        # torch's own file writer turns the OSError of a full disk into a RuntimeError about positions.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            with atomic_write(path) as file:
                file.write(buffer.getbuffer())
        except OSError as error:
            raise UserError(
                f"cannot write the checkpoint {path}: {error.strerror or error}; the one before it is whole. "
                f"{self.remedy}"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint; see `read_checkpoint`."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint onto the CPU, with `weights_only=True`.

    Args:
        path: A `.ckpt` file.

    Returns:
        The checkpoint's dictionary.

    Raises:
        UserError: The file is missing, damaged or not a checkpoint.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    with reading(path):
        # torch does not check the checksums that it writes.
        with ZipFile(path) as archive:
            spoilt = archive.testzip()
        if spoilt is not None:
            raise UserError(f"{path} is damaged: the checksum of {spoilt} is wrong")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a training checkpoint: it holds no `state_dict`")
    return checkpoint


class RunCheckpoints(Checkpoint):
    """Keep `best.ckpt` (by a monitored value, the earliest of equals) and `last.ckpt` in a folder.

    The last one is saved at the end of every epoch, every `every_steps` steps, and when the run is stopped:
    the first Ctrl-C (SIGINT), like a SIGTERM, lets the present step finish and saves; a second Ctrl-C stops
    at once.

    Args:
        folder: Where the two files lie.
        monitor: The logged value to compare; of several, the first that is logged.
        mode: Whether the highest ("max") or the lowest ("min") value is best.
        every_steps: Steps between saves of `last.ckpt` within an epoch; 0 for none.
        task: The task that the checkpoints name as theirs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        monitor: str | Sequence[str],
        mode: Literal["max", "min"] = "max",
        every_steps: int = 0,
        task: str = "",
    ) -> None:
        self.best_path, self.last_path = folder / "best.ckpt", folder / "last.ckpt"
        self.monitor = [monitor] if isinstance(monitor, str) else list(monitor)
        self.mode, self.every_steps, self.task = mode, every_steps, task
        self.best_score: float | None = None
        self.best_epoch = 0
        self.interrupted = False
        self._former_handler: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over Ctrl-C, which Python delivers to the main thread only."""
        if threading.current_thread() is threading.main_thread():
            self._former_handler = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop here when Ctrl-C came during validation: the epoch before is saved and logged."""
        if _any_rank(trainer, self.interrupted):
            self.interrupted = True
            raise KeyboardInterrupt

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch, except after its last step, which validation and a save follow anyway.

        Between two batches of one step there is nothing to save: gradients are not part of a checkpoint.
        """
        if 0 < trainer.max_steps <= trainer.global_step:
            # Lightning validates, and lets us save, when asked to stop, but not when it runs out of steps.
            trainer.should_stop = True
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        stopping = _any_rank(trainer, self.interrupted or trainer.received_sigterm)
        if stopping or (self.every_steps and trainer.global_step % self.every_steps == 0):
            trainer.save_checkpoint(self.last_path)
        if stopping and not trainer.received_sigterm:
            self.interrupted = True
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after validation."""
        logged = trainer.callback_metrics
        score = float(next(logged[name] for name in self.monitor if name in logged))
        better = operator.gt if self.mode == "max" else operator.lt
        if self.best_score is None or better(score, self.best_score):
            self.best_score, self.best_epoch = score, trainer.current_epoch
            trainer.save_checkpoint(self.best_path)
        trainer.save_checkpoint(self.last_path)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Name the task, so that another one can refuse the checkpoint."""
        checkpoint.update(task=self.task, processes=trainer.world_size)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to continue with more processes, or fewer.

        Raises:
            UserError: Their number differs.
        """
        processes = checkpoint.get("processes", 1)
        if processes != trainer.world_size:
            raise UserError(
                f"the run was trained by {processes} processes and cannot continue with "
                f"{trainer.world_size}, which would read other batches; continue with "
                f"--trainer.devices {processes}"
            )

    def on_train_end(self, *_: Any) -> None:
        """Give Ctrl-C back."""
        if self._former_handler is not None:
            signal.signal(signal.SIGINT, self._former_handler)
            self._former_handler = None

    on_exception = on_train_end  # type: ignore[assignment]

    def state_dict(self) -> dict[str, Any]:
        """The score to beat."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the score to beat."""
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]


def _any_rank(trainer: Trainer, value: bool) -> bool:
    """Whether it is true for any process: all must save together, and stop together."""
    if trainer.world_size == 1:
        return value
    return bool(trainer.strategy.reduce_boolean_decision(value, all=False))


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
