"""A small character-level language model."""

from __future__ import annotations

from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_nn import SRU

SIZE, LAYERS = 256, 2


class CharacterModel(nn.Module):
    """Predicts the next character."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, SIZE)
        self.rnn = SRU(SIZE, SIZE, LAYERS)
        self.output = nn.Linear(SIZE, characters)

    def forward(self, text: Tensor) -> Tensor:
        """Map `(T, B)` to `(T, B, characters)`."""
        logits: Tensor = self.output(self.rnn(self.embedding(text))[0])
        return logits


def read_text() -> Tensor:
    """Return the documentation of Python's syntax as character ids."""
    text = "".join(topics[name] for name in sorted(topics))
    alphabet = {character: index for index, character in enumerate(sorted(set(text)))}
    return torch.tensor([alphabet[character] for character in text])


def train(model: CharacterModel, text: Tensor, steps: int) -> float:
    """Train on random pieces of the text; return the bits per character over the last fifty steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    length, batch, losses = 128, 16, []
    for _ in range(steps):
        starts = torch.randint(len(text) - length, (batch,))
        piece = torch.stack([text[start : start + length + 1] for start in starts.tolist()], dim=1)
        loss = F.cross_entropy(model(piece[:-1]).flatten(0, 1), piece[1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item() / 0.6931)
    return sum(losses[-50:]) / len(losses[-50:])
