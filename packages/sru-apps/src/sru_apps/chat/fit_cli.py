"""The command line of `sru chat fit`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from sru_apps.chat.data import ChatData
from sru_apps.chat.load import TASK, export_chat_model
from sru_apps.chat.module import ChatModule
from sru_apps.language_modelling.config import LanguageModelConfig
from sru_apps.language_modelling.evaluate import evaluate
from sru_apps.language_modelling.summary import LanguageModelSummary, describe
from sru_apps.training.checkpoint_io import read_checkpoint, reading
from sru_apps.training.fit_cli import FitCLI
from sru_apps.training.history import History
from sru_apps.training.optimizers import OptimizerConfig
from sru_apps.training.parser import TrainerParser
from sru_apps.training.summary import count_parameters

PACKAGE = "sru_apps.chat"


class _FitParser(TrainerParser):
    """Adds a way out to the error about missing dialogues."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a wrong command line and exit with status 2."""
        if "required" in message and "data.train_file" in message:
            message = "no dialogues chosen; give --data.train_file, JSON lines with a field 'bot'"
        super().error(message, ex)


class ChatFitCLI(FitCLI):
    """`sru chat fit`: the options of a language model, and dialogues for its text.

    Args:
        args: The command line after `sru chat fit`.

    Raises:
        UserError: When an option has a value that is refused; nothing is written then.
    """

    task = TASK
    package = PACKAGE
    description = (
        "Train a model that answers, from dialogues in JSON lines with a field 'bot', and export it."
    )
    module_class = ChatModule
    data_class = ChatData
    fit_parser = _FitParser
    trainer_options = FitCLI.trainer_options | {"accumulate_grad_batches"}
    lasting_trainer_options = frozenset(
        {"accumulate_grad_batches", "precision", "gradient_clip_val", "gradient_clip_algorithm"}
    )
    movable = frozenset({"train_file", "validation_file", "tokenizer"})
    mode = "min"
    model: ChatModule
    datamodule: ChatData

    @property
    def metric(self) -> str:
        """The perplexity of what the bot says."""
        return "validation_perplexity"

    @property
    def group(self) -> str:
        """The file of dialogues."""
        return Path(self.options.data.train_file).name.split(".")[0]

    def add_parts(self, parser: LightningArgumentParser) -> None:
        """Add the options of the data, the model and the optimizer."""
        parser.add_lightning_class_args(ChatData, "data")
        parser.add_class_arguments(LanguageModelConfig, "model", skip={"vocab_size"}, instantiate=False)
        parser.add_class_arguments(OptimizerConfig, "optimizer", instantiate=False)

    def defaults(self) -> Mapping[str, Any]:
        """What the recipes have in common."""
        return {
            "model.encoder": "gated-linear",
            "trainer.max_epochs": 10,
            "trainer.gradient_clip_val": 1.0,
        }

    def instantiate_classes(self) -> None:
        """Build the data, which tell the size of the vocabulary, then the model, then the trainer."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule = data = self.config_init.data
        optimizer = OptimizerConfig(**self.config_init.optimizer.as_dict())
        config = LanguageModelConfig(vocab_size=data.vocab_size, **self.config_init.model.as_dict())
        data.train_dataloader()  # Dialogues that are no use are to be refused before anything is written.
        data.val_dataloader()
        self.model = ChatModule(config, optimizer, unit="subwords")
        self.trainer = self.instantiate_trainer()

    def make_history(self) -> History:
        """Record the speed too."""
        return History(
            self.run.learning_curve,
            metric=self.metric,
            count=lambda batch: batch.targets.numel(),
            unit="tokens",
        )

    def opening(self) -> str:
        """Count the dialogues, name the encoder and its size."""
        train, validation = (len(part) for part in self.datamodule.dialogues)
        counted = f"{train:,} dialogues for training, {validation:,} for validation"
        config = self.model.config
        return f"{counted}\n{config.encoder}: {count_parameters(self.model):,} parameters"

    def finish(self) -> None:
        """Export the best checkpoint, and print the summary."""
        run, data = self.run, self.datamodule
        module = self.model
        with reading(run.best):
            module.load_state_dict(read_checkpoint(run.best)["state_dict"])
        accelerator = self.options.trainer.accelerator
        validation = evaluate(module, data, "validate", accelerator=accelerator)  # type: ignore[arg-type]
        export_chat_model(run.model, module.network, data.tokenizer)
        rows = self.history.rows
        summary = LanguageModelSummary(
            dataset=self.group,
            unit=data.unit,
            encoder=module.config.encoder,
            seed=data.seed,
            test=None,
            validation=validation,
            best_epoch=self.checkpoints.best_epoch + 1,
            epochs=len(rows),
            steps=int(rows[-1]["step"]),
            seconds=round(self.history.seconds, 2),
            tokens_per_second=round(statistics.median(row["tokens_per_second"] for row in rows), 1),
            parameters=count_parameters(module),
            run=str(run.path),
        )
        summary.save(run.summary)
        print(
            f"{self.group} {summary.encoder}: answers held out: {describe(validation)} (epoch "
            f"{summary.best_epoch} of {summary.epochs}); {summary.parameters:,} parameters, "
            f"{summary.seconds:.1f} s, {summary.run}"
        )
