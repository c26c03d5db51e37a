"""The command line of `sru classify fit`: what its options are, and the objects that they make."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from jsonargparse.typing import NonNegativeInt
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import LambdaCallback
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from sru_apps.classification.data import SentenceData
from sru_apps.classification.model import EncoderName
from sru_apps.classification.module import ClassifierModule
from sru_apps.training.checkpoint_io import AtomicCheckpointIO, atomic_write
from sru_apps.training.checkpoints import RunCheckpoints
from sru_apps.training.console import wants_progress_bar
from sru_apps.training.errors import UserError, building
from sru_apps.training.history import History
from sru_apps.training.parser import TrainerParser, add_options, peek
from sru_apps.training.progress import EpochBar
from sru_apps.training.recipes import recipe_names, recipe_path
from sru_apps.training.run_folder import RunFolder, find_run, new_run
from sru_apps.training.seeding import SeedEveryStep

PACKAGE = "sru_apps.classification"

# The other options of Lightning's Trainer either belong to the run folder or would break the promise that a
# continued run equals an undisturbed one.
TRAINER_OPTIONS = {
    "accelerator", "precision", "max_epochs", "gradient_clip_val", "gradient_clip_algorithm", "deterministic",
    "benchmark", "profiler", "detect_anomaly",
}  # fmt: skip

OPTIONS: list[tuple[str, Any, Any, str]] = [
    ("--recipe", str | None, None, f"Packaged settings: {', '.join(recipe_names(PACKAGE))}."),
    ("--data-dir", str | None, None, "Folder with the data; default: $SRU_DATA, else downloaded."),
    (
        "--embeddings",
        str | None,
        None,
        "Pretrained word vectors: GloVe, fastText .vec, word2vec .bin, or .gz.",
    ),
    ("--encoder", EncoderName, "sru", "The encoder."),
    ("--seed", int, 0, "Seed of everything random."),
    ("--runs-dir", str, "runs", "Where run folders go: RUNS_DIR/classify/RECIPE/NAME."),
    ("--name", str | None, None, "Name of the run folder; default: the time."),
    ("--resume", str | None, None, "Run folder, or checkpoint in one, to continue with its own settings."),
    ("--checkpoint-steps", NonNegativeInt, 0, "Also save last.ckpt every so many steps; 0: each epoch only."),
]

LINKS = {
    "data_dir": "data.data_dir",
    "embeddings": "data.embeddings",
    "encoder": "model.encoder",
    "seed": "data.seed",
}


class _FitParser(TrainerParser):
    """Adds a way out to the error about a missing data set."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a wrong command line and exit with status 2."""
        if "required" in message and "data.name" in message:
            message = f"no data set chosen; give --recipe ({', '.join(recipe_names(PACKAGE))}) or --data.name"
        super().error(message, ex)


class FitCLI(LightningCLI):
    """Parses the command line and builds data, model and trainer; the settings are kept when training starts.

    Args:
        args: The command line after `sru classify fit`.

    Raises:
        UserError: When an option has a value that is refused; nothing is written then.

    Attributes:
        options: The parsed options.
        run: The run folder; a new one is not there yet.
        checkpoints: The callback that keeps the checkpoints.
        history: The callback that records each epoch.
    """

    def __init__(self, args: Sequence[str]) -> None:
        self._args = list(args)
        self._resume, self._recipe = peek(args, "--resume"), peek(args, "--recipe")
        if self._resume is not None and self._recipe is not None:
            raise UserError("--resume continues with the settings of the run; leave --recipe out")
        settings: list[str] = []
        if self._resume is not None:
            settings = [str(find_run(Path(self._resume)).config)]
        elif self._recipe is not None:
            settings = [str(recipe_path(PACKAGE, self._recipe))]
        with building():
            super().__init__(
                ClassifierModule,
                SentenceData,
                save_config_callback=None,
                seed_everything_default=0,
                parser_class=_FitParser,
                parser_kwargs={
                    "prog": "sru classify fit",
                    "description": "Train a sentence classifier, test its best checkpoint and export it.",
                    "default_config_files": settings,
                },
                run=False,
                load_from_checkpoint_support=False,
            )
            self.model.configure_optimizers()  # The optimizer looks at its options only when it is built.

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the given arguments, whatever `sys.argv` holds."""
        self.config = self.options = parser.parse_args(self._args)
        optimizer = self.options.optimizer
        clips = self.options.trainer.gradient_clip_val is not None
        # One pass over the word vectors instead of a dozen. Lightning clips nothing of a fused one in mixed
        # precision, so whoever clips gets the usual one.
        if optimizer.fused is None and optimizer.foreach is None and not clips:
            optimizer.fused = True

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the data, the model, and those of the Trainer that are free."""
        add_options(parser, OPTIONS)
        parser.add_lightning_class_args(SentenceData, "data")
        parser.add_lightning_class_args(ClassifierModule, "model")
        parser.add_optimizer_args(torch.optim.AdamW, "optimizer")
        others = set(inspect.signature(Trainer).parameters) - TRAINER_OPTIONS
        parser.add_class_arguments(Trainer, "trainer", skip=others, instantiate=False, fail_untyped=False)
        # With the defaults of model and data, what the recipes have in common; a recipe holds what differs.
        defaults = {"optimizer.weight_decay": 1e-4, "trainer.max_epochs": 12, "trainer.accelerator": "auto"}
        parser.set_defaults(defaults)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Join what must agree."""
        parser.link_arguments("seed", "seed_everything")
        for source, target in LINKS.items():
            parser.link_arguments(source, target)
        for name in ("vocab_size", "embedding_size", "label_names"):
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Find the run folder, or a place for one."""
        epochs = self.options.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise UserError(f"--trainer.max_epochs must be at least 1, got {epochs}")
        if self._resume is not None:
            self.run: RunFolder = find_run(Path(self._resume))
            return
        group = Path(self.options.runs_dir) / "classify" / (self._recipe or self.options.data.name)
        remedy = "choose another --name, or continue that run with --resume"
        self.run = new_run(group, self.options.name, remedy=remedy)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer around the run folder."""
        metric = "validation_accuracy"
        self.history = History(self.run.learning_curve, metric=metric)
        self.checkpoints = RunCheckpoints(
            self.run.checkpoints, monitor=metric, every_steps=self.options.checkpoint_steps
        )
        settings = LambdaCallback(on_train_start=lambda trainer, module: self._save_config())
        callbacks = [settings, SeedEveryStep(self.options.seed), self.history, self.checkpoints]
        path = self.run.path
        return Trainer(
            **self.config_init.trainer,
            devices=1,
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

    def _save_config(self) -> None:
        # A later --resume must not find an older one in the settings.
        config = self.config.clone()
        config.resume = None
        with atomic_write(self.run.config) as file:
            file.write(self.parser.dump(config).encode())
