"""The fusion reader: passage and question are fused at every level of understanding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sru_apps.nn import StackedEncoder, make_dropout
from sru_apps.ranges import ranged
from sru_apps.tasks.squad.batches import ReaderInput
from sru_apps.tasks.squad.layers import InputLayer, OutputLayer, QuestionSummary, ReaderOptions, Scores
from sru_nn.gemm import project

_LAYERS, _FUSIONS = 2, 1


@dataclass(frozen=True, kw_only=True)
class FusionOptions(ReaderOptions):
    """Options of the reader `fusion`; None leaves a choice to it.

    Raises:
        ValueError: A number is out of range.
    """

    understanding_layers: int | None = ranged(None, at_least=1)
    """fusion: layers of the understanding encoders of question and passage; default: 2."""
    final_layers: int | None = ranged(None, at_least=1)
    """fusion: layers of the encoder after each self-fusion of the passage; default: 2."""
    self_fusions: int | None = ranged(None, at_least=1)
    """fusion: self-fusions of the passage; default: 1."""


class FusionReader(nn.Module):
    """The scores of FusionNet; with SRU as the encoder, FastFusionNet.

        g, q      word vectors of passage and question            x   what is known of a word of the passage
        h = [h¹; …; hᴸ] = encoder(x)       p = [p¹; …; pᴸ] = encoder(q)      reading, all layers
        u = encoder(p)                                                        the question, understood
        f = [A¹([g; h], [q; p]; p¹); …; Aᴸ(…; pᴸ); Aᴸ⁺¹(…; u)]                multi-level fusion
        v = encoder([h; f])                                                   the passage, understood
        s = A([g; h; f; v], [g; h; f; v]; v)                                  self-boosted fusion
        m = encoder([v; s])                                                   the passage, final
        scores = output(m, Σ_j softmax_j(w · u_j) u_j)

    Every encoder and every A has its own weights. Each further self-fusion appends m to the history of the
    words and fuses m in place of v. L is `num_layers`, 2 in the papers. Padding changes no result.

    The largest tensors are the weights of a self-fusion, (B, T, T): 82 MB for 32 passages of 800 words.
    Training keeps one per self-fusion, and briefly three. The weights of passage and question are
    (B, L + 1, T, J).

    Args:
        config: Sizes and choices.

    Source: Huang et al., "FusionNet: Fusing via Fully-Aware Attention with Application to Machine
    Comprehension" (2018), section 3; Wu et al., "FastFusionNet: New State-of-the-Art for DAWNBench SQuAD"
    (2019), section 3, which leaves out CoVe and has SRU in place of LSTM.
    """

    def __init__(self, config: FusionOptions) -> None:
        super().__init__()
        self.config = config
        self.inputs = InputLayer(config)
        words, levels = config.embedding_size, config.num_layers
        again = config.understanding_layers or _LAYERS
        self.reading = self._encoder(self.inputs.document_size, levels, concat_layers=True)
        self.question_reading = self._encoder(self.inputs.question_size, levels, concat_layers=True)
        read = self.reading.output_size
        width = read // levels
        self.question_understanding = self._encoder(read, again)
        self.fusion = self._attention(words + read, width, levels + 1)
        self.understanding = self._encoder(2 * read + width, again)
        history = words + 2 * read + 2 * width
        fusions = range(config.self_fusions or _FUSIONS)
        self.self_fusions = nn.ModuleList(self._attention(history + n * width, width) for n in fusions)
        self.final = nn.ModuleList(self._encoder(2 * width, config.final_layers or _LAYERS) for _ in fusions)
        self.dropout = make_dropout(config.dropped_outputs, variational=config.variational_dropout)
        self.summary = QuestionSummary(width, config.question_merge)
        self.outputs = OutputLayer(config, width, width)

    def _encoder(self, input_size: int, num_layers: int, *, concat_layers: bool = False) -> StackedEncoder:
        config = self.config
        return StackedEncoder(
            config.encoder,
            input_size,
            config.hidden_size,
            num_layers=num_layers,
            dropout=config.dropout,
            variational=config.variational_dropout,
            concat_layers=concat_layers,
            bidirectional=config.bidirectional,
            options=config,
        )

    def _attention(self, size: int, width: int, levels: int = 1) -> FullyAwareAttention:
        config = self.config
        return FullyAwareAttention(
            size, width, levels=levels, dropout=config.dropout, variational=config.variational_dropout
        )

    def forward(self, inputs: ReaderInput) -> Scores:
        """Score where answers begin and end.

        Args:
            inputs: Passages and questions.

        Returns:
            Logits, -inf at padding.
        """
        mask, question_mask = inputs.document_mask, inputs.question_mask
        embedded = self.inputs(inputs)
        read = self.reading(embedded.document, mask)
        question_read = self.question_reading(embedded.question, question_mask)
        understood = self.question_understanding(question_read, question_mask)
        fused = self.fusion(
            [embedded.words, read],
            [embedded.question, question_read],
            torch.cat([question_read, understood], -1),
            question_mask,
        )
        last = self.understanding(torch.cat([read, fused], -1), mask)
        history = [embedded.words, read, fused, last]
        for attention, encoder in zip(self.self_fusions, self.final, strict=True):
            fused = attention(history, history, last, mask)
            last = encoder(torch.cat([last, fused], -1), mask)
            history.append(last)
        summary = self.summary(self.dropout(understood), question_mask)
        return self.outputs([last], summary, mask)  # type: ignore[no-any-return]


class FullyAwareAttention(nn.Module):
    """Fully-aware attention: compares the whole history of two words, with separate weights for each level.

        S^l(x, y) = relu(U^l x)ᵀ D^l relu(U^l y)            D^l diagonal
        out^l_t = Σ_j softmax_j(S^l(x_t, y_j)) z^l_j

    Dropout is applied to x and y.

    Args:
        size: The features of x and y.
        width: d, the features of the output of each level, and the inner width of S.
        levels: L.
        dropout: Probability.
        variational: Whether dropout draws one mask for all words of a text.

    Source: Huang et al. (2018), sections 2.3 and 3.1.
    """

    def __init__(
        self, size: int, width: int, *, levels: int = 1, dropout: float = 0.0, variational: bool = True
    ) -> None:
        super().__init__()
        self.levels = levels
        self.dropout = make_dropout(dropout, variational=variational)
        self.projection = nn.Linear(size, levels * width, bias=False)
        self.diagonal = nn.Parameter(torch.ones(levels * width))

    def forward(
        self, x: Sequence[Tensor], y: Sequence[Tensor], values: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Fuse the second text into the words of the first.

        Args:
            x: The history of the first text, parts of (T, B, ·).
            y: The history of the second text, (J, B, ·).
            values: z, (J, B, L·d).
            mask: (J, B) bool, True at padding of the second text; None without padding.

        Returns:
            (T, B, L·d).
        """
        queries = self._project(x)
        # In training each side has a dropout mask of its own.
        keys = queries if y is x and not self.training else self._project(y)
        keys = keys * self.diagonal
        # A batch of B·L products, all on views.
        batch = keys.shape[1] * self.levels
        queries, keys, values = (
            part.reshape(part.shape[0], batch, -1).transpose(0, 1) for part in (queries, keys, values)
        )
        if mask is None:
            scores = torch.bmm(queries, keys.transpose(1, 2))
        else:
            absent = torch.zeros_like(mask, dtype=queries.dtype).masked_fill_(mask, -torch.inf)
            absent = absent.t().repeat_interleave(self.levels, 0).unsqueeze(1)
            scores = torch.baddbmm(absent, queries, keys.transpose(1, 2))
        fused = torch.bmm(scores.softmax(-1), values)
        return fused.transpose(0, 1).reshape(fused.shape[1], keys.shape[0] // self.levels, -1)

    def _project(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.relu(project(self.projection, self.dropout(torch.cat(list(parts), -1))))
