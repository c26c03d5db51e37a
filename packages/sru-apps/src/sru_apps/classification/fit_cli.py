"""The command line of `sru classify fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from pytorch_lightning.cli import ArgsType, LightningArgumentParser

from sru_apps.classification.data import SentenceData
from sru_apps.classification.evaluate import evaluate
from sru_apps.classification.load import export_classifier, load_module
from sru_apps.classification.model import EncoderName
from sru_apps.classification.module import TASK, ClassifierModule
from sru_apps.training.fit_cli import FitCLI, Option
from sru_apps.training.parser import TrainerParser
from sru_apps.training.recipes import recipe_names
from sru_apps.training.summary import Summary, count_parameters

PACKAGE = "sru_apps.classification"


class _FitParser(TrainerParser):
    """Adds a way out to the error about a missing data set."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a wrong command line and exit with status 2."""
        if "required" in message and "data.name" in message:
            message = f"no data set chosen; give --recipe ({', '.join(recipe_names(PACKAGE))}) or --data.name"
        super().error(message, ex)


class ClassifyFitCLI(FitCLI):
    """`sru classify fit`: data, model and optimizer are those of sentence classification.

    Args:
        args: The command line after `sru classify fit`.

    Raises:
        UserError: When an option has a value that is refused; nothing is written then.
    """

    task = TASK
    package = PACKAGE
    description = "Train a sentence classifier, test its best checkpoint and export it."
    module_class = ClassifierModule
    data_class = SentenceData
    fit_parser = _FitParser
    optimizer_of_torch = True
    movable = frozenset({"data_dir", "embeddings"})
    model: ClassifierModule
    datamodule: SentenceData

    @property
    def metric(self) -> str:
        """The accuracy."""
        return "validation_accuracy"

    def task_options(self) -> list[Option]:
        """Shorter names of what users choose first."""
        vectors = "Pretrained word vectors: GloVe, fastText .vec, word2vec .bin, or .gz."
        return [
            ("--data-dir", str | None, None, "Folder with the data; default: $SRU_DATA, else downloaded."),
            ("--embeddings", str | None, None, vectors),
            ("--encoder", EncoderName, "sru", "The encoder."),
        ]

    def add_parts(self, parser: LightningArgumentParser) -> None:
        """Add the options of the data, the model and AdamW."""
        parser.add_lightning_class_args(SentenceData, "data")
        parser.add_lightning_class_args(ClassifierModule, "model")
        parser.add_optimizer_args(torch.optim.AdamW, "optimizer")

    def defaults(self) -> Mapping[str, Any]:
        """What the recipes have in common; a recipe holds what differs."""
        return {"optimizer.weight_decay": 1e-4, "trainer.max_epochs": 12}

    def link(self, parser: LightningArgumentParser) -> None:
        """Join the shorter names, and what the model learns from the data."""
        parser.link_arguments("data_dir", "data.data_dir")
        parser.link_arguments("embeddings", "data.embeddings")
        parser.link_arguments("encoder", "model.encoder")
        for name in ("vocab_size", "embedding_size", "label_names"):
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the given arguments, and choose the way the optimizer works."""
        super().parse_arguments(parser, args)
        optimizer = self.options.optimizer
        clips = self.options.trainer.gradient_clip_val is not None
        # One pass over the word vectors instead of a dozen. Lightning clips nothing of a fused one in mixed
        # precision, so whoever clips gets the usual one.
        if optimizer.fused is None and optimizer.foreach is None and not clips:
            optimizer.fused = True

    def instantiate_classes(self) -> None:
        """Build everything, the optimizer too: it looks at its options only when it is built."""
        super().instantiate_classes()
        self.model.configure_optimizers()

    def begin(self) -> None:
        """Start from pretrained word vectors, if there are any."""
        data = self.datamodule
        if data.pretrained is not None:
            self.model.use_vectors(data.pretrained.weight)
            words = data.vocab_size - 2
            print(f"{data.pretrained.found:,} of {words:,} words have a vector in {data.embeddings}")

    def opening(self) -> str:
        """Name the encoder and its size."""
        return f"{self.model.hparams['encoder']}: {count_parameters(self.model):,} parameters"

    def finish(self) -> None:
        """Test the best checkpoint, export it, and print the summary."""
        run, data = self.run, self.datamodule
        module, _ = load_module(run.best)
        test_accuracy, _ = evaluate(module, data, "test", accelerator=self.options.trainer.accelerator)
        export_classifier(run.model, module, data.tokenizer)
        parameters = count_parameters(module)
        summary = Summary(
            dataset=data.dataset,
            encoder=module.network.config.encoder,
            seed=data.seed,
            test_accuracy=test_accuracy,
            validation_accuracy=self.checkpoints.best_score or 0.0,
            best_epoch=self.checkpoints.best_epoch + 1,
            epochs=len(self.history.rows),
            seconds=round(self.history.seconds, 2),
            parameters=parameters,
            parameters_without_embedding=parameters - count_parameters(module.network.embedding),
            run=str(run.path),
        )
        summary.save(run.summary)
        print(summary.line())
