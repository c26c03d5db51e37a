"""The search for translations with a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sru_apps.decoding.beam import Beam, beam_search, check_exponent
from sru_apps.decoding.draws import draw_hypotheses
from sru_apps.decoding.hypotheses import Constraints, Hypothesis
from sru_apps.decoding.sampling import Sampling
from sru_apps.ranges import check_ranges, ranged
from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.model import TranslationModel
from sru_data.tokenizers import PAD_ID, UNK_ID

PER_SYMBOL, MORE = 2, 20
"""The length limit of a translation: this many symbols per symbol of the sentence, plus this many."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Options of the search; None means the value of the model's configuration.

    Raises:
        ValueError: A number is out of its range, or one limit exceeds another.
    """

    beam: int | None = ranged(None, at_least=1)
    """The number of hypotheses kept for each sentence; 1 is greedy."""
    n_best: int = ranged(1, at_least=1)
    """The number of translations per sentence, the best first; at most the beam."""
    length_penalty: str | None = None
    """How hypotheses of different lengths are compared: average, gnmt or none, as in `Beam`."""
    alpha: float | None = None
    """The exponent of the length penalty, which is then average or gnmt."""
    min_length: int = ranged(0, at_least=0)
    """The minimum number of symbols of a translation."""
    max_length: int | None = ranged(None, at_least=1)
    """The maximum number of symbols of a translation; default: twice those of the sentence plus 20."""
    forbid_unknown: bool = False
    """Never choose the unknown symbol."""
    sampling: Sampling | None = None
    """Sample `n_best` translations instead of searching."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.max_length is not None and self.max_length < self.min_length:
            raise ValueError(
                f"max_length must be at least min_length ({self.min_length}), got {self.max_length}"
            )
        if self.length_penalty is not None:
            check_exponent(self.length_penalty, self.alpha)

    def beam_of(self, config: TranslationConfig) -> Beam:
        """Return the beam options for a model.

        Args:
            config: The model's configuration.

        Raises:
            ValueError: `n_best` exceeds the beam, `length_penalty` is unknown, or `alpha` is given with the
                penalty none.
        """
        penalty = config.length_penalty if self.length_penalty is None else self.length_penalty
        check_exponent(penalty, self.alpha)
        return Beam(
            size=config.beam if self.beam is None else self.beam,
            n_best=self.n_best,
            length_penalty=penalty,
            alpha=config.alpha if self.alpha is None else self.alpha,
        )

    def limit(self, symbols: int, prefix: Sequence[int] = ()) -> int:
        """Return the maximum number of symbols of the translation of a sentence.

        Args:
            symbols: The number of symbols of the sentence.
            prefix: The beginning of the translation.
        """
        if self.max_length is not None:
            return self.max_length
        return max(PER_SYMBOL * symbols + MORE, self.min_length, len(prefix) + MORE)


@torch.inference_mode()
def search(
    network: TranslationModel,
    source: Tensor,
    mask: Tensor | None = None,
    options: Search | None = None,
    *,
    beam: int | None = None,
    prefixes: Sequence[Sequence[int]] | None = None,
    seeds: Sequence[int] | None = None,
    keep_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Translate B sentences.

    Args:
        network: The model, in evaluation mode.
        source: (S, B) int64.
        mask: (S, B) bool, True at padding; None if there is no padding.
        options: Options of the search.
        beam: Overrides the beam of the options.
        prefixes: The symbols that the translations of each sentence begin with.
        seeds: One seed per sentence, for sampling; default: 0.
        keep_attention: Whether to return the attention of the translations.

    Returns:
        For each sentence its translations, at least one, the best first; samples in the order of their
        seeds.

    Raises:
        ValueError: The model is in training mode, or a prefix exceeds the maximum length of a translation.
    """
    options = options or Search()
    if beam is not None:
        options = replace(options, beam=beam)
    config, count = network.config, source.shape[1]
    lengths = [len(source)] * count if mask is None else (~mask).sum(0).tolist()
    begun = [()] * count if prefixes is None else prefixes
    constraints = Constraints(
        bos_id=config.bos_id,
        eos_id=config.eos_id,
        max_lengths=[options.limit(*sentence) for sentence in zip(lengths, begun, strict=True)],
        min_length=options.min_length,
        prefixes=begun,
        forbidden=(PAD_ID, UNK_ID) if options.forbid_unknown else (PAD_ID,),
    )
    memory = network.encode(source, mask)
    state = network.start(memory)
    if options.sampling is None:
        ranked = options.beam_of(config)
        return beam_search(network, memory, state, constraints, ranked, keep_attention=keep_attention)
    return draw_hypotheses(
        network,
        memory,
        state,
        constraints,
        options.sampling,
        seeds=[0] * count if seeds is None else seeds,
        samples=options.n_best,
        keep_attention=keep_attention,
    )
