"""`sru TASK fit`: one trainer for all tasks."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
import yaml  # type: ignore[import-untyped,unused-ignore]
from jsonargparse import Namespace
from pytorch_lightning.callbacks import LambdaCallback
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from sru_apps.task import Task, load
from sru_apps.train.checkpoints import AtomicCheckpointIO, RunCheckpoints, SeedEveryStep, read_checkpoint
from sru_apps.train.console import EpochBar, flush_denormals, quiet_lightning, wants_progress_bar
from sru_apps.train.data import TaskData
from sru_apps.train.errors import UserError, building, reading
from sru_apps.train.evaluate import STAGES, load_module, measure
from sru_apps.train.export import check_task
from sru_apps.train.history import History
from sru_apps.train.module import TaskModule, count_parameters, sharded_strategy
from sru_apps.train.optimizers import OptimizerConfig
from sru_apps.train.options import fit_parser, peek, recipe_path, with_settings
from sru_apps.train.run_folder import find_checkpoint, find_run, new_run
from sru_data.atomic import atomic_write

LASTING_OPTIONS = ("accumulate_grad_batches", "precision", "gradient_clip_val", "gradient_clip_algorithm")
"""Options of the trainer that a continued run may not change."""


class Fit:
    """A training that has been set up from the command line; nothing of the run is written yet.

    Args:
        task: The task.
        args: The command line after `sru TASK fit`.

    Attributes:
        options: The parsed options.
        run: The run folder; a new one does not exist yet.
        data: The data, set up.
        module: The module to train.
        trainer: Lightning's trainer.
        history: The callback that records each epoch.
        checkpoints: The callback that keeps the checkpoints.

    Raises:
        UserError: An option has a value that is refused.
    """

    def __init__(self, task: Task, args: Sequence[str]) -> None:
        self.task = task
        resume, recipe = peek(args, "--resume"), peek(args, "--recipe")
        if resume is not None and recipe is not None:
            raise UserError("--resume continues with the settings of the run; leave --recipe out")
        settings = None if recipe is None else recipe_path(task, recipe)
        if resume is not None:
            self.run = find_run(Path(resume))
            settings = self.run.config
        self.data_class: type[TaskData] = load(task.data)
        self.module_class: type[TaskModule] = load(task.module)
        self.parser = fit_parser(task, self.data_class, self.module_class.config_class)
        self.options: Namespace = self.parser.parse_args(with_settings(args, settings))
        if local := int(os.environ.get("LOCAL_WORLD_SIZE", 0)):
            # torchrun has decided.
            self.options.trainer.devices = local
            self.options.trainer.num_nodes = int(os.environ["WORLD_SIZE"]) // local
        with building():
            self._build()

    def _build(self) -> None:
        options, epochs = self.options, self.options.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise UserError(f"--trainer.max_epochs must be at least 1, got {epochs}")
        lightning.seed_everything(options.seed, verbose=False)
        self.data = self.data_class(**options.data.as_dict(), seed=options.seed)
        optimizer = OptimizerConfig.of(options.optimizer.as_dict())
        if options.resume is None:
            self.run = new_run(
                Path(options.runs_dir) / self.task.name / (options.recipe or self.data.group),
                options.name,
                remedy="choose another --name, or continue that run with --resume",
            )
        self.data.prepare_data()
        self.data.setup("fit")
        self.data.train_dataloader()  # Data that are too short are refused before anything is written.
        self.module = self.module_class.build(self.data, options.model.as_dict(), optimizer)
        self.trainer = self._trainer()

    def _trainer(self) -> lightning.Trainer:
        self.history = History(
            self.run.learning_curve,
            table=self.run.metrics,
            figures=self.task.figures,
            count=(lambda batch: batch.targets.numel()) if self.data.unit else None,
            unit="tokens",
        )
        self.checkpoints = RunCheckpoints(
            self.run.checkpoints,
            monitor=[f"validation_{name}" for name in self.task.figures],
            mode=self.task.mode,
            every_steps=self.options.checkpoint_steps,
            task=self.task.name,
        )
        path, options = self.run.path, self.options.trainer.as_dict()
        if options["strategy"] == "fsdp":
            options["strategy"] = sharded_strategy(options["devices"], options["num_nodes"])
        return lightning.Trainer(
            **options,
            callbacks=[
                *([EpochBar()] if wants_progress_bar() else []),
                LambdaCallback(on_train_start=lambda *_: self._save_config()),
                SeedEveryStep(self.options.seed),
                self.history,
                self.checkpoints,
            ],
            logger=TensorBoardLogger(path, name="", version="tensorboard"),
            plugins=[AtomicCheckpointIO(remedy="Make room and continue with --resume")],
            default_root_dir=path,
            # Lightning warns of epochs shorter than this; `History` logs once an epoch anyway.
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=wants_progress_bar(),
        )

    @rank_zero_only
    def _save_config(self) -> None:
        # A later --resume must not find an older one in the settings.
        config = self.options.clone()
        config.resume = None
        del config["config"]
        with atomic_write(self.run.config) as file:
            file.write(self.parser.dump(config).encode())

    def train(self) -> None:
        """Train, or continue the run.

        Raises:
            UserError: The checkpoint to continue from does not fit the options.
        """
        resume_from = None
        if self.options.resume is not None:
            resume_from = find_checkpoint(Path(self.options.resume), last=True)
            self._check_same_settings(resume_from)
        else:
            self.module.start(self.data)
        if self.trainer.is_global_zero:
            size = f"{self.module.config.encoder}: {count_parameters(self.module):,} parameters"
            opening = [self.data.opening(), f"{size}; run folder {self.run.path}"]
            print("\n".join(filter(None, opening)), flush=True)
        try:
            self.trainer.fit(self.module, self.data, ckpt_path=resume_from)
        except BaseException:
            # A run that never took a step would only be in the way of the next one of its name.
            if resume_from is None and self.trainer.global_step == 0 and self.trainer.is_global_zero:
                shutil.rmtree(self.run.path, ignore_errors=True)
            raise

    def _check_same_settings(self, path: Path) -> None:
        """Refuse to continue a run as another one."""
        checkpoint = read_checkpoint(path)
        check_task(checkpoint.get("task"), self.task.name, path)
        with reading(path):
            tokenizer = dict(checkpoint[self.data_class.__qualname__])
            theirs = {**checkpoint["hyper_parameters"], **checkpoint["datamodule_hyper_parameters"]}
        # First, since other differences may follow from other tokens.
        self.data.load_state_dict(tokenizer)
        # Files may have moved; that their content is the same is checked with the tokenizer.
        data = {key: value for key, value in self.data.hparams.items() if key not in self.task.movable}
        ours = {**self.module.hparams, **data}
        with reading(self.run.config, kind="the settings of a run"):
            former = yaml.safe_load(self.run.config.read_text(encoding="utf-8"))["trainer"]
        for key in LASTING_OPTIONS:
            ours[key], theirs[key] = self.options.trainer.get(key), former.get(key)
        if different := list(_differences(ours, theirs)):
            raise UserError(
                f"{path} was trained with {'; '.join(different)}; continue with the run's own settings"
            )

    @rank_zero_only
    def finish(self) -> None:
        """Test the best checkpoint, export it, and print the summary."""
        run, data, rows = self.run, self.data, self.history.rows
        module, _ = load_module(self.task, run.best)
        figures = {
            name: measure(module, data, stage, accelerator=self.options.trainer.accelerator)
            for stage, name in reversed(STAGES.items())
            if stage in self.task.generic and (stage == "validate" or data.has_test)
        }
        module.export(run.model, data.tokenizer, task=self.task.name)
        summary = {
            "dataset": data.dataset,
            "encoder": module.config.encoder,
            "seed": self.options.seed,
            "test": figures.get("test"),
            "validation": figures["validation"],
            "best_epoch": self.checkpoints.best_epoch + 1,
            "epochs": len(rows),
            "steps": int(rows[-1]["step"]),
            "seconds": round(self.history.seconds, 2),
            "parameters": count_parameters(module),
            "run": str(run.path),
            **module.summary(figures),
        }
        speed = ""
        if data.unit:
            tokens_per_second = statistics.median(row["tokens_per_second"] for row in rows)
            summary |= {"unit": data.unit, "tokens_per_second": round(tokens_per_second, 1)}
            speed = f"{tokens_per_second:,.0f} tokens per second, "
        run.write_summary(summary)
        measured = "; ".join(f"{name} {module.describe(found)}" for name, found in figures.items())
        print(
            f"{data.dataset} {module.config.encoder}: {measured} (epoch {summary['best_epoch']} of "
            f"{len(rows)}); {summary['parameters']:,} parameters, {speed}{self.history.seconds:.1f} s, "
            f"{run.path}"
        )


def fit(task: Task, args: Sequence[str]) -> int:
    """Train, or continue a run; then test the best checkpoint, export it, and print the summary.

    Args:
        task: The task.
        args: The command line after `sru TASK fit`.

    Returns:
        The exit status; 130 after Ctrl-C.
    """
    flush_denormals()
    quiet_lightning()
    job = Fit(task, args)
    try:
        job.train()
    except SystemExit:
        if not job.checkpoints.interrupted and not job.trainer.received_sigterm:
            raise
        if job.trainer.is_global_zero:
            remedy = f". Continue with: sru {task.name} fit --resume {job.run.path}"
            print(f"Interrupted{remedy if job.run.last.exists() else ' before the first checkpoint.'}")
        return 130
    if torch.distributed.is_initialized():
        # From here on one process works alone.
        torch.distributed.destroy_process_group()
    job.finish()
    return 0


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for key in ours:
        mine, other = ours[key], theirs.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            yield from _differences(mine, other)
        elif mine != other:
            yield f"{key}={other!r}, not {mine!r}"
