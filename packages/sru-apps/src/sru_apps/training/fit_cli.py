"""The command line of `sru TASK fit`: its options, and the objects that they make."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from jsonargparse.typing import NonNegativeInt
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import LambdaCallback
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from sru_apps.training.checkpoint_io import AtomicCheckpointIO
from sru_apps.training.checkpoints import RunCheckpoints
from sru_apps.training.console import wants_progress_bar
from sru_apps.training.errors import UserError, building
from sru_apps.training.history import History
from sru_apps.training.parser import TrainerParser, add_options, peek
from sru_apps.training.progress import EpochBar
from sru_apps.training.recipes import recipe_names, recipe_path
from sru_apps.training.run_folder import RunFolder, find_run, new_run
from sru_apps.training.seeding import SeedEveryStep
from sru_apps.training.sharding import sharded_strategy
from sru_data.atomic import atomic_write

Option = tuple[str, Any, Any, str]
DISTRIBUTED_OPTIONS = frozenset({"devices", "num_nodes", "strategy"})
"""The options of the Trainer for more than one process."""


class FitCLI(LightningCLI):
    """Parses the command line and builds data, model and trainer; the settings are kept when training starts.

    A task derives a class, which names its parts and adds its own options.

    Args:
        args: The command line after `sru TASK fit`.

    Raises:
        UserError: When an option has a value that is refused; nothing is written then.

    Attributes:
        options: The parsed options.
        run: The run folder; a new one is not there yet.
        checkpoints: The callback that keeps the checkpoints.
        history: The callback that records each epoch.
    """

    task: ClassVar[str]
    """The task as `sru` calls it."""
    package: ClassVar[str]
    """Where the task's recipes lie."""
    description: ClassVar[str]
    """What `fit` does, for its help."""
    module_class: ClassVar[type[LightningModule]]
    data_class: ClassVar[type[LightningDataModule]]
    fit_parser: ClassVar[type[TrainerParser]] = TrainerParser
    optimizer_of_torch: ClassVar[bool] = False
    """Whether the group `optimizer` holds those of one of torch's classes, and not an `OptimizerConfig`."""
    trainer_options: ClassVar[frozenset[str]] = frozenset(
        {
            "accelerator",
            "precision",
            "max_epochs",
            "gradient_clip_val",
            "gradient_clip_algorithm",
            "deterministic",
            "benchmark",
            "profiler",
            "detect_anomaly",
        }
    )
    """The free options of Lightning's Trainer: the others either belong to the run folder or would break the
    promise that a continued run equals an undisturbed one."""
    lasting_trainer_options: ClassVar[frozenset[str]] = frozenset()
    """Those of them that a continued run may not change."""
    movable: ClassVar[frozenset[str]] = frozenset({"data_dir"})
    """Options of the data that a continued run may change, such as the place of a file."""
    mode: ClassVar[Literal["max", "min"]] = "max"
    """Whether the highest or the lowest value of `metric` is the best."""

    def __init__(self, args: Sequence[str]) -> None:
        self._args = list(args)
        self._resume, self._recipe = peek(args, "--resume"), peek(args, "--recipe")
        if self._resume is not None and self._recipe is not None:
            raise UserError("--resume continues with the settings of the run; leave --recipe out")
        settings: list[str] = []
        if self._resume is not None:
            settings = [str(find_run(Path(self._resume)).config)]
        elif self._recipe is not None:
            settings = [str(recipe_path(self.package, self._recipe))]
        with building():
            super().__init__(
                self.module_class,
                self.data_class,
                save_config_callback=None,
                seed_everything_default=0,
                parser_class=self.fit_parser,
                parser_kwargs={
                    "prog": f"sru {self.task} fit",
                    "description": self.description,
                    "default_config_files": settings,
                },
                run=False,
                auto_configure_optimizers=self.optimizer_of_torch,
                load_from_checkpoint_support=False,
            )

    @property
    def metric(self) -> str:
        """The logged validation figure that decides which epoch is the best."""
        raise NotImplementedError

    @property
    def group(self) -> str:
        """The folder of like runs when there is no recipe to name it after."""
        return str(self.options.data.name)

    def add_parts(self, parser: LightningArgumentParser) -> None:
        """Add the options of the data, the model and the optimizer."""
        raise NotImplementedError

    def task_options(self) -> list[Option]:
        """The task's own options outside of those groups."""
        return []

    def defaults(self) -> Mapping[str, Any]:
        """What the recipes have in common, besides the defaults of model and data."""
        return {}

    def callbacks(self) -> list[Callback]:
        """The task's own callbacks."""
        return []

    def make_history(self) -> History:
        """The callback that records each epoch."""
        return History(self.run.learning_curve, metric=self.metric)

    def begin(self) -> None:
        """Do what a new run, and not a continued one, needs before its first step."""

    def check_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse to continue from a checkpoint that does not fit the data; settings are compared later."""

    def opening(self) -> str:
        """Say what is going to be trained, without the full stop."""
        raise NotImplementedError

    def finish(self) -> None:
        """Test the best checkpoint, export it, and print the summary."""
        raise NotImplementedError

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the given arguments, whatever `sys.argv` holds."""
        self.config = self.options = parser.parse_args(self._args)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 0))
        if local and self.trainer_options >= DISTRIBUTED_OPTIONS:
            # torchrun has decided.
            self.options.trainer.devices = local
            self.options.trainer.num_nodes = int(os.environ["WORLD_SIZE"]) // local

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the run, of the task, and those of the Trainer that are free."""
        recipes = ", ".join(recipe_names(self.package))
        add_options(
            parser,
            [
                ("--recipe", str | None, None, f"Packaged settings: {recipes}."),
                *self.task_options(),
                ("--seed", int, 0, "Seed of everything random."),
                ("--runs-dir", str, "runs", f"Where run folders go: RUNS_DIR/{self.task}/RECIPE/NAME."),
                ("--name", str | None, None, "Name of the run folder; default: the time."),
                (
                    "--resume",
                    str | None,
                    None,
                    "Run folder, or checkpoint in one, to continue with its own settings.",
                ),
                (
                    "--checkpoint-steps",
                    NonNegativeInt,
                    0,
                    "Also save last.ckpt every so many steps; 0: each epoch only.",
                ),
            ],
        )
        self.add_parts(parser)
        others = set(inspect.signature(Trainer).parameters) - self.trainer_options
        parser.add_class_arguments(Trainer, "trainer", skip=others, instantiate=False, fail_untyped=False)
        parser.set_defaults({"trainer.accelerator": "auto", **self.defaults()})
        if self.trainer_options >= DISTRIBUTED_OPTIONS:
            parser.set_defaults({"trainer.devices": 1})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Join what must agree."""
        parser.link_arguments("seed", "seed_everything")
        parser.link_arguments("seed", "data.seed")
        self.link(parser)

    def link(self, parser: LightningArgumentParser) -> None:
        """Join options of the task that must agree."""

    def before_instantiate_classes(self) -> None:
        """Find the run folder, or a place for one."""
        epochs = self.options.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise UserError(f"--trainer.max_epochs must be at least 1, got {epochs}")
        if self._resume is not None:
            self.run: RunFolder = find_run(Path(self._resume))
            return
        group = Path(self.options.runs_dir) / self.task / (self._recipe or self.group)
        remedy = "choose another --name, or continue that run with --resume"
        self.run = new_run(group, self.options.name, remedy=remedy)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer around the run folder."""
        self.history = self.make_history()
        self.checkpoints = RunCheckpoints(
            self.run.checkpoints,
            monitor=self.metric,
            mode=self.mode,
            every_steps=self.options.checkpoint_steps,
        )
        settings = LambdaCallback(on_train_start=lambda trainer, module: self._save_config(trainer))
        callbacks = [
            settings,
            SeedEveryStep(self.options.seed),
            *self.callbacks(),
            self.history,
            self.checkpoints,
        ]
        path = self.run.path
        options = {"devices": 1, **self.config_init.trainer}
        if options.get("strategy") == "fsdp":
            options["strategy"] = sharded_strategy(options["devices"], options["num_nodes"])
        return Trainer(
            **options,
            callbacks=[*([EpochBar()] if wants_progress_bar() else []), *callbacks],
            logger=[
                TensorBoardLogger(path, name="", version="tensorboard"),
                CSVLogger(path.parent, name=path.name, version=""),
            ],
            plugins=[AtomicCheckpointIO(remedy="Make room and continue with --resume")],
            default_root_dir=path,
            # Lightning warns of epochs shorter than this; `History` logs once an epoch anyway.
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=wants_progress_bar(),
        )

    def _save_config(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        # A later --resume must not find an older one in the settings.
        config = self.config.clone()
        config.resume = None
        with atomic_write(self.run.config) as file:
            file.write(self.parser.dump(config).encode())
