"""The command line of `sru chat fit`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from sru_apps.chat.data import ChatData
from sru_apps.chat.load import TASK, export_chat_model
from sru_apps.chat.module import ChatModule
from sru_apps.language_modelling.config import LanguageModelConfig
from sru_apps.language_modelling.summary import describe
from sru_apps.language_modelling.token_fit_cli import TokenFitCLI
from sru_apps.training.checkpoint_io import read_checkpoint, reading
from sru_apps.training.evaluation import measure
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


class ChatFitCLI(TokenFitCLI):
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
    trainer_options = TokenFitCLI.trainer_options | {"accumulate_grad_batches"}
    movable = frozenset({"train_file", "validation_file", "tokenizer"})
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
        validation = measure(module, data, "validate", accelerator=accelerator)
        export_chat_model(run.model, module.network, data.tokenizer)
        summary = self.summarise(self.group, validation)
        print(
            f"{self.group} {summary.encoder}: answers held out: {describe(validation)} (epoch "
            f"{summary.best_epoch} of {summary.epochs}); {summary.parameters:,} parameters, "
            f"{summary.seconds:.1f} s, {summary.run}"
        )
