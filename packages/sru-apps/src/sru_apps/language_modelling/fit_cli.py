"""The command line of `sru lm fit`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.cli import LightningArgumentParser

from sru_apps.language_modelling.config import LanguageModelConfig
from sru_apps.language_modelling.data import LanguageModelData
from sru_apps.language_modelling.evaluate import load_module
from sru_apps.language_modelling.figures import FIGURE
from sru_apps.language_modelling.load import TASK, export_language_model
from sru_apps.language_modelling.module import LanguageModelModule
from sru_apps.language_modelling.token_fit_cli import TokenFitCLI
from sru_apps.training.checkpoint_io import reading
from sru_apps.training.evaluation import measure
from sru_apps.training.fit_cli import DISTRIBUTED_OPTIONS, Option
from sru_apps.training.optimizers import OptimizerConfig
from sru_apps.training.step_limit import ValidateAtLimit
from sru_apps.training.summary import count_parameters

PACKAGE = "sru_apps.language_modelling"


class LanguageModelFitCLI(TokenFitCLI):
    """`sru lm fit`: the options of data, model and optimizer are the fields of their configurations.

    Args:
        args: The command line after `sru lm fit`.

    Raises:
        UserError: When an option has a value that is refused; nothing is written then but token files.
    """

    task = TASK
    package = PACKAGE
    description = "Train a language model, test its best checkpoint and export it."
    module_class = LanguageModelModule
    data_class = LanguageModelData
    trainer_options = (
        TokenFitCLI.trainer_options | DISTRIBUTED_OPTIONS | {"max_steps", "accumulate_grad_batches"}
    )
    movable = frozenset(
        {"data_dir", "prepared_dir", "train_file", "validation_file", "test_file", "tokenizer"}
        | {"evaluation_batch_size", "evaluation_length", "window", "stride"}
    )
    model: LanguageModelModule
    datamodule: LanguageModelData

    @property
    def metric(self) -> str:
        """Perplexity, or bits per character or byte."""
        return f"validation_{FIGURE[self.datamodule.unit]}"

    @property
    def group(self) -> str:
        """The corpus, or the file, or the prepared folder."""
        data = self.options.data
        return data.name or Path(data.train_file or data.prepared_dir or "text").name.split(".")[0]

    def task_options(self) -> list[Option]:
        """A shorter name of what many users need."""
        return [
            ("--data-dir", str | None, None, "Folder with the data; default: $SRU_DATA, else downloaded.")
        ]

    def add_parts(self, parser: LightningArgumentParser) -> None:
        """Add the options of the data, the model and the optimizer."""
        parser.add_lightning_class_args(LanguageModelData, "data")
        parser.add_class_arguments(LanguageModelConfig, "model", skip={"vocab_size"}, instantiate=False)
        parser.add_class_arguments(OptimizerConfig, "optimizer", instantiate=False)

    def defaults(self) -> Mapping[str, Any]:
        """What the recipes have in common."""
        return {"trainer.max_epochs": 10, "trainer.gradient_clip_val": 1.0}

    def link(self, parser: LightningArgumentParser) -> None:
        """Join the shorter name."""
        parser.link_arguments("data_dir", "data.data_dir")

    def instantiate_classes(self) -> None:
        """Build the data, which tell the size of the vocabulary, then the model, then the trainer."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule = data = self.config_init.data
        optimizer = OptimizerConfig(**self.config_init.optimizer.as_dict())
        config = LanguageModelConfig(vocab_size=data.vocab_size, **self.config_init.model.as_dict())
        data.train_dataloader()  # A text that is too short is to be refused before anything is written.
        self.model = LanguageModelModule(
            config,
            optimizer,
            unit=data.unit,
            nominal_length=data.length if data.random_lengths else None,
        )
        self.trainer = self.instantiate_trainer()

    def callbacks(self) -> list[Callback]:
        """End with a validation wherever the training ends."""
        return [ValidateAtLimit()]

    def check_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Compare the vocabularies first: what else differs may follow from that."""
        with reading(self.run.last):
            state = dict(checkpoint[LanguageModelData.__qualname__])
        self.datamodule.load_state_dict(state)

    def opening(self) -> str:
        """Name the text, the encoder and its size."""
        data, config = self.datamodule, self.model.config
        tokens = f"{len(data.prepared.train):,} {data.unit} for training, {data.vocab_size:,} different"
        return f"{data.dataset}: {tokens}\n{config.encoder}: {count_parameters(self.model):,} parameters"

    def finish(self) -> None:
        """Test the best checkpoint, export it, and print the summary."""
        run, data = self.run, self.datamodule
        module, _ = load_module(run.best)
        accelerator = self.options.trainer.accelerator
        has_test = data.prepared.test is not None
        test = measure(module, data, "test", accelerator=accelerator) if has_test else None
        validation = measure(module, data, "validate", accelerator=accelerator)
        export_language_model(run.model, module.network, data.tokenizer)
        print(self.summarise(data.dataset, validation, test).line())
