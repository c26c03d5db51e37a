"""The line at the end of a run, and the same for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sru_data.atomic import atomic_write

_UNITS = {
    "perplexity": "perplexity {:.2f}",
    "word_perplexity": "word perplexity {:.2f}",
    "bits_per_character": "{:.3f} bits per character",
    "bits_per_byte": "{:.3f} bits per byte",
}


def describe(figures: Mapping[str, float]) -> str:
    """Put figures in words, those first that models are compared by: `perplexity 82.31, loss 4.4105`."""
    parts = [text.format(figures[name]) for name, text in _UNITS.items() if name in figures]
    return ", ".join([*parts, f"loss {figures['loss']:.4f}"])


@dataclass(frozen=True)
class LanguageModelSummary:
    """What the training of a language model came to."""

    dataset: str
    """Name of the text."""
    unit: str
    """What a token is."""
    encoder: str
    """Name of the encoder."""
    seed: int
    """The run's seed."""
    test: Mapping[str, float] | None
    """Figures of the best checkpoint on the test text, if there is one; `loss` in nats per token."""
    validation: Mapping[str, float]
    """Figures of the best checkpoint on the validation text."""
    best_epoch: int
    """The epoch of the best checkpoint, from 1."""
    epochs: int
    """Epochs trained, the last one perhaps in part."""
    steps: int
    """Steps of the optimizer."""
    seconds: float
    """Time of training and validation, over all sessions."""
    tokens_per_second: float
    """Speed of training without validation, of all processes together: the median over the epochs."""
    parameters: int
    """Trainable parameters."""
    run: str
    """The run folder."""

    def line(self) -> str:
        """The summary in one line."""
        test = "no test text" if self.test is None else f"test {describe(self.test)}"
        return (
            f"{self.dataset} {self.encoder}: {test}; validation {describe(self.validation)} "
            f"(epoch {self.best_epoch} of {self.epochs}); {self.parameters:,} parameters, "
            f"{self.tokens_per_second:,.0f} tokens per second, {self.seconds:.1f} s, {self.run}"
        )

    def save(self, path: Path) -> None:
        """Write the summary as JSON."""
        with atomic_write(path) as file:
            file.write((json.dumps(asdict(self), indent=2) + "\n").encode())
