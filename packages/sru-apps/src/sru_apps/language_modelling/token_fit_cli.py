"""What the command lines of `sru lm fit` and `sru chat fit` have in common."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from sru_apps.language_modelling.module import LanguageModelModule
from sru_apps.language_modelling.summary import LanguageModelSummary
from sru_apps.training.fit_cli import FitCLI
from sru_apps.training.history import History
from sru_apps.training.summary import count_parameters


class TokenFitCLI(FitCLI):
    """Trains a `LanguageModelModule`, counts tokens, and takes the lowest figure for the best.

    Args:
        args: The command line after `sru TASK fit`.

    Raises:
        UserError: When an option has a value that is refused; nothing is written then.
    """

    lasting_trainer_options = frozenset(
        {"accumulate_grad_batches", "precision", "gradient_clip_val", "gradient_clip_algorithm"}
    )
    mode = "min"
    model: LanguageModelModule

    def make_history(self) -> History:
        """Record the speed too."""
        return History(
            self.run.learning_curve,
            metric=self.metric,
            count=lambda batch: batch.targets.numel(),
            unit="tokens",
        )

    def summarise(
        self, dataset: str, validation: Mapping[str, float], test: Mapping[str, float] | None = None
    ) -> LanguageModelSummary:
        """Save what the run came to.

        Args:
            dataset: Name of the text.
            validation: Figures of the best checkpoint on the validation text.
            test: The same on the test text, if there is one.

        Returns:
            What was saved.
        """
        rows = self.history.rows
        summary = LanguageModelSummary(
            dataset=dataset,
            unit=self.datamodule.unit,
            encoder=self.model.config.encoder,
            seed=self.options.seed,
            test=test,
            validation=validation,
            best_epoch=self.checkpoints.best_epoch + 1,
            epochs=len(rows),
            steps=int(rows[-1]["step"]),
            seconds=round(self.history.seconds, 2),
            tokens_per_second=round(statistics.median(row["tokens_per_second"] for row in rows), 1),
            parameters=count_parameters(self.model),
            run=str(self.run.path),
        )
        summary.save(self.run.summary)
        return summary
