"""The recurrent language model."""

from __future__ import annotations

from torch import Tensor, nn

from sru_apps.dropout import Dropout
from sru_apps.encoders import RecurrentEncoder, RecurrentName, State


class RecurrentLanguageModel(nn.Module):
    """Predict the next symbol: embedding, recurrent layers, and a linear map to the vocabulary.

    Args:
        vocab_size: V.
        encoder: The recurrent cell: `sru`, `lstm` or `gru`.
        embedding_size: Width of the embedding.
        hidden_size: D.
        num_layers: L.
        dropout: Dropout on the embedding, between the layers and before the linear map.
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        encoder: RecurrentName = "sru",
        embedding_size: int = 128,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.dropout = Dropout(dropout)
        self.encoder = RecurrentEncoder(
            encoder, embedding_size, hidden_size, num_layers=num_layers, dropout=dropout
        )
        self.decoder = nn.Linear(hidden_size, vocab_size)

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Score every symbol that could follow.

        Args:
            ids: (T, B) int64, the symbols read.
            state: What the call for the text before returned; None at the start of a text.

        Returns:
            logits: (T, B, V), unnormalised log-probabilities of the symbol after each position.
            state: The states to read on from.
        """
        h, state = self.encoder(self.dropout(self.embedding(ids)), state=state)
        return self.decoder(self.dropout(h)), state


def detach(state: State) -> State:
    """Cut the history of a state, so that gradients end where a segment begins."""
    return state.detach() if isinstance(state, Tensor) else (state[0].detach(), state[1].detach())
