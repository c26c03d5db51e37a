"""A training run that has been set up from the command line."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
from jsonargparse import Namespace
from pytorch_lightning.callbacks import LambdaCallback
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from sru_apps.task import Task, load
from sru_apps.train.averaging import AveragedWeights
from sru_apps.train.checkpoints import AtomicCheckpointIO, RunCheckpoints, SeedEveryStep
from sru_apps.train.choices import check_choices
from sru_apps.train.console import EpochBar, wants_progress_bar
from sru_apps.train.continuing import check_form, differences
from sru_apps.train.data import TaskData
from sru_apps.train.errors import UserError, building, clip, reading
from sru_apps.train.history import History
from sru_apps.train.limits import check_limits, limits_of, seconds_of, take_from_torchrun
from sru_apps.train.module import TaskModule, count_parameters, sharded_strategy
from sru_apps.train.optimizers import OptimizerConfig
from sru_apps.train.options import fit_parser, peek, recipe_path, with_settings
from sru_apps.train.run_folder import find_run, new_run
from sru_apps.train.starting import Start
from sru_apps.train.steps import StepLog
from sru_apps.train.validations import Validations, ended_by, interval
from sru_apps.train.weights import plan, read_checkpoint
from sru_apps.train.yaml_files import GROUPS, read_settings
from sru_data.atomic import atomic_write

LASTING_OPTIONS = ("accumulate_grad_batches", "precision", "gradient_clip_val", "gradient_clip_algorithm")
"""Options of the trainer that a continued run may not change."""
IN_USE = "choose another --name, or continue that run with --resume"
"""What to do if the folder of a new run is not empty."""


def group_folder(task: Task, options: Namespace, data: TaskData) -> Path:
    """Return the folder of similar runs.

    Args:
        task: The task.
        options: The options of `fit`.
        data: The data, which need not be set up.
    """
    return Path(options.runs_dir) / task.name / (options.recipe or data.group)


class Fit:
    """A training run that has been set up from the command line; nothing has been written yet.

    Args:
        task: The task.
        args: The command line after `sru TASK fit`.
        group: The parent of the run folder; default: RUNS_DIR/TASK/RECIPE.

    Attributes:
        options: The parsed options.
        run: The run folder; a new one does not exist yet.
        data: The data, set up.
        module: The module to train.
        trainer: Lightning's trainer.
        history: The callback that records each epoch.
        checkpoints: The callback that keeps the checkpoints.
        resume_from: The checkpoint to continue from; None in a new run, and in one that was stopped before
            its first checkpoint.
        finished: The option that ended the run to continue, if any; then nothing else need be set up.

    Raises:
        UserError: The value of an option is refused.
    """

    def __init__(self, task: Task, args: Sequence[str], *, group: Path | None = None) -> None:
        self.task, self.group, self._args = task, group, args
        resume, recipe = peek(args, "--resume"), peek(args, "--recipe")
        if resume is not None and recipe is not None:
            raise UserError("--resume continues with the settings of the run; leave --recipe out")
        if resume is not None and peek(args, "--init-from") is not None:
            raise UserError("--resume continues with the weights of the run; leave --init-from out")
        if resume is not None and "--find-lr" in args:
            raise UserError("--find-lr is for new runs, and --resume continues one; leave one of them out")
        settings = None if recipe is None else recipe_path(task, recipe)
        self.resume_from: Path | None = None
        self.former: dict[str, Any] = {}
        if resume is not None:
            self.run = find_run(Path(resume))
            settings = self.run.config
            last = Path(resume) if Path(resume).is_file() else self.run.last
            if last.is_file():
                self.resume_from, self.former = last, read_checkpoint(last)
            made_by = (self.former or read_settings(settings)).get("task", task.name)
            if made_by != task.name:
                other = clip(str(made_by), 40)
                raise UserError(
                    f"{resume} was made by `sru {other}`; expected one made by `sru {task.name}`; "
                    f"continue it with: sru {other} fit --resume {resume}"
                )
        self.data_class: type[TaskData] = load(task.data)
        self.module_class: type[TaskModule] = load(task.module)
        self.parser = fit_parser(task, self.data_class, self.module_class.config_class)
        written = with_settings(args, settings)
        self.options: Namespace = self.parser.parse_args(written)
        self.options.resume = resume
        self.origin: Start | None = None
        if self.options.init_from is not None and self.resume_from is None:
            self.origin = Start(task, self.options.init_from)
            # Inserted after the recipe and before the command line.
            found = ["--config", self.origin.settings(self.module_class)]
            place = 0 if settings is None else 2
            self.options = self.parser.parse_args([*written[:place], *found, *written[place:]])
            self.options.resume = resume
        take_from_torchrun(self.options.trainer)
        self.finished: str | None = None
        # Problems with the checkpoint are reported when the run is continued.
        with suppress(KeyError, TypeError, StopIteration):
            end = self.ended_by(self.former["callbacks"]["History"]["rows"])
            self.finished = end if self.run.summary.is_file() else None
        # Other options may belong to another run.
        if not self.finished or set(args) - {"--resume", resume, f"--resume={resume}"}:
            with building():
                self._build()

    def ended_by(self, rows: Sequence[Mapping[str, float]]) -> str | None:
        """Return the option that has ended a run with these rows; None while it can continue."""
        figures = [f"validation_{name}" for name in self.task.figures]
        return ended_by(rows, figures, self.task.mode, **limits_of(self.options))

    def _build(self) -> None:
        options = self.options
        check_limits(options.trainer)
        check_choices(self.module_class, {group: options[group].as_dict() for group in GROUPS})
        lightning.seed_everything(options.seed, verbose=False)
        self.data = self.data_class(**options.data.as_dict(), seed=options.seed)
        optimizer = OptimizerConfig.of(options.optimizer.as_dict())
        if options.resume is None:
            if options.recipe is not None:
                recipe_path(self.task, options.recipe)
            group = group_folder(self.task, options, self.data)
            self.run = new_run(self.group or group, options.name, remedy=IN_USE)
        if self.origin is not None:
            self.origin.prepare(self.data, options, self._args)
        elif options.init_from is not None and self.resume_from is not None:
            # Its tokenizer belongs to another run.
            with reading(self.resume_from):
                self.data.load_state_dict(dict(self.former[self.data_class.__qualname__]))
        self.data.prepare_data()
        self.data.setup("fit")
        # Data that is too short is refused before anything is written.
        loader = self.data.train_dataloader()
        if (every := options.trainer.val_check_interval) is not None:
            interval(every, len(loader), options.trainer.accumulate_grad_batches)
        build = partial(self.module_class.build, self.data, options.model.as_dict(), optimizer)
        planned = plan(build)
        if self.resume_from is not None:
            self._check_same_settings(self.resume_from, planned)
        self.module = build()
        self.started = "" if self.origin is None else self.origin.give(self.module)
        with building(TypeError):
            self.trainer = self._trainer()
        if self.resume_from is not None:
            # Checked before starting that many processes.
            with reading(self.resume_from):
                self.checkpoints.on_load_checkpoint(self.trainer, self.module, self.former)

    def _trainer(self) -> lightning.Trainer:
        options, path = self.options.trainer.as_dict(), self.run.path
        speed: dict[str, Any] = {"unit": "tokens"}
        if self.data.unit:
            speed["count"] = self.data.count
        encoder = self.options.model.get("encoder", "")
        self.history = History(
            self.run.learning_curve,
            table=self.run.metrics,
            title=f"{self.task.name} · {self.data.group} · {encoder} · {path.name}",
            figures=self.task.figures,
            **speed,
        )
        self.checkpoints = RunCheckpoints(
            self.run.checkpoints,
            monitor=self.history.figures,
            mode=self.task.mode,
            every_steps=self.options.checkpoint_steps,
            # The run can then be continued without the model it starts from.
            before_training=self.origin is not None,
            task=self.task.name,
            is_finite=lambda: self.options.allow_divergence or self.history.is_finite,
        )
        validations = Validations(
            self.history,
            every=options.pop("val_check_interval"),
            patience=self.options.patience,
            max_seconds=seconds_of(options.pop("max_time")),
            mode=self.task.mode,
        )
        if options["strategy"] == "fsdp":
            options["strategy"] = sharded_strategy(options["devices"], options["num_nodes"])
        steps, average = self.options.log_steps, self.module.optimizer.average
        step = self.former.get("global_step")
        # Otherwise points after the checkpoint would be logged twice.
        purge: dict[str, Any] = {"purge_step": step + 1} if isinstance(step, int) else {}
        return lightning.Trainer(
            **options,
            callbacks=[
                *([EpochBar(self.history)] if wants_progress_bar() else []),
                LambdaCallback(setup=self._check_form, on_train_start=self._continue),
                SeedEveryStep(self.options.seed),
                self.history,
                *([StepLog(self.run.steps, every=steps, **speed)] if steps else []),
                *([AveragedWeights(average)] if average else []),
                validations,
                self.checkpoints,
            ],
            logger=TensorBoardLogger(path, name="", version="tensorboard", **purge),
            plugins=[AtomicCheckpointIO(remedy="Make room and continue with --resume")],
            default_root_dir=path,
            # Lightning warns about epochs shorter than this; `History` and `StepLog` log all steps.
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=wants_progress_bar(),
        )

    def _continue(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        # Saved once the checkpoint is known to fit; a new run has saved its settings already.
        if self.resume_from is not None:
            self._save_config()

    @rank_zero_only
    def _save_config(self) -> None:
        # A later --resume must not find an old one in the settings.
        config = self.options.clone()
        config.resume = None
        del config["config"]
        with atomic_write(self.run.config) as file:
            file.write(f"task: {self.task.name}\n{self.parser.dump(config)}".encode())

    def train(self) -> None:
        """Train, or continue the run.

        Raises:
            UserError: The checkpoint does not fit, or the training diverges.
        """
        if self.resume_from is None:
            # Before anything else, so that the run can always be resumed.
            self._save_config()
            if self.origin is None:
                self.module.start(self.data)
        if self.trainer.is_global_zero:
            size = f"{self.module.config.encoder}: {count_parameters(self.module):,} parameters"
            again = self.options.resume is not None and self.resume_from is None
            opening = [
                self.data.opening(),
                f"{self.run.path} has no checkpoint yet; the run starts over" if again else "",
                self.started,
                f"{size}; run folder {self.run.path}",
            ]
            print("\n".join(filter(None, opening)), flush=True)
        try:
            self.trainer.fit(self.module, self.data, ckpt_path=self.resume_from)
        except BaseException as error:
            before = self.former.get("global_step", 0)
            if isinstance(before, int) and self.trainer.global_step > before:
                raise
            # A run without a step would only block the next one of the same name.
            if self.options.resume is None and self.trainer.is_global_zero:
                shutil.rmtree(self.run.path, ignore_errors=True)
            if self.resume_from is not None and isinstance(error, Exception):
                with reading(self.resume_from, kind="a checkpoint of this run"):
                    raise
            raise

    def _check_form(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        if self.resume_from is not None:
            with reading(self.resume_from, kind="a checkpoint of this run"):
                check_form(self.former, trainer, module)

    def _check_same_settings(self, path: Path, planned: TaskModule) -> None:
        """Refuse to continue a run with other settings, before the model is built."""
        checkpoint = self.former
        with reading(path):
            # First, because other differences may follow from different tokens.
            self.data.load_state_dict(dict(checkpoint[self.data_class.__qualname__]))
            theirs = {**checkpoint["hyper_parameters"], **checkpoint["datamodule_hyper_parameters"]}
            # Files may have moved; comparing the tokenizer checks that their content is the same.
            data = {key: value for key, value in self.data.hparams.items() if key not in self.task.movable}
            # Results of the report at the end, such as a temperature, are not settings.
            settings = {key: value for key, value in planned.hparams.items() if key not in planned.exported}
            ours = {**settings, **data}
            former = read_settings(self.run.config).get("trainer", {})
            for key in LASTING_OPTIONS:
                ours[key] = self.options.trainer.get(key)
                theirs[key] = former.get(key, self.parser.get_default(f"trainer.{key}"))
            if different := list(differences(ours, theirs)):
                raise UserError(
                    f"{path} was trained with {'; '.join(different)}; continue with the run's own settings"
                )
            planned.load_state_dict(checkpoint["state_dict"], assign=True)
