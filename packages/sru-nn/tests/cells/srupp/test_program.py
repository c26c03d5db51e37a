"""A language model trained as the scripts of `sru` 3.0.0.dev do it: its mask, memory and checkpoints."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_nn import SRUpp

UNROLL, BATCH, SYMBOLS, SIZE, LAYERS = 8, 4, 6, 16, 2


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, SIZE)
        dropout = {"dropout": 0.1, "attn_dropout": 0.1}
        self.rnn = SRUpp(SIZE, SIZE, 8, num_layers=LAYERS, highway_bias=-2.0, layer_norm=True, **dropout)
        self.output = nn.Linear(SIZE, SYMBOLS)

    def set_mask(self, same_length: bool = False) -> None:
        ones = self.embedding.weight.new_ones(2 * UNROLL, 2 * UNROLL)
        self.attn_mask = torch.triu(ones, 1) * -10000.0
        if same_length:
            self.attn_mask += torch.tril(ones, -1 - UNROLL) * -10000.0

    def forward(self, x: Tensor, hidden: Tensor, memory: list) -> tuple[Tensor, Tensor, list]:
        earlier = 0 if memory[0] is None else memory[0].size(0)
        # In the dtype of the symbols, which is that of integers.
        mask = self.attn_mask[earlier : earlier + len(x), : earlier + len(x)].to(x)
        h, hidden, kept = self.rnn(self.embedding(x), hidden, memory=memory, attn_mask=mask)
        return self.output(h), hidden, kept["saved_inputs"]


def batches(text: Tensor):
    columns = text[: len(text) // BATCH * BATCH].view(BATCH, -1).t()
    yield from zip(columns[:-1].split(UNROLL), columns[1:].split(UNROLL), strict=True)


def beginning() -> tuple[Tensor, list]:
    return torch.zeros(LAYERS, BATCH, SIZE), [None] * LAYERS


def train(model: LanguageModel, text: Tensor) -> None:
    model.train()
    model.set_mask()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(3):
        hidden, memory = beginning()
        for x, y in batches(text):
            scores, hidden, memory = model(x, hidden, memory)
            F.cross_entropy(scores.flatten(0, 1), y.flatten()).backward()
            hidden.detach_()
            memory = [bank.detach_() for bank in memory]
            optimizer.step()
            optimizer.zero_grad()


@torch.no_grad()
def evaluate(model: LanguageModel, text: Tensor) -> float:
    model.eval()
    model.set_mask(same_length=True)
    (hidden, memory), losses = beginning(), []
    for x, y in batches(text):
        scores, hidden, memory = model(x, hidden, memory)
        losses.append(F.cross_entropy(scores.flatten(0, 1), y.flatten()))
    return float(torch.stack(losses).mean())


def test_training_with_a_mask_of_integers_and_a_checkpoint():
    model, text = LanguageModel(), torch.arange(SYMBOLS).repeat(60)
    before = evaluate(model, text)
    train(model, text)
    after = evaluate(model, text)
    assert before > 1.5
    assert after < 0.3
    states = model.state_dict()
    for name in states:
        states[name] = states[name].clone().cpu()
    file = io.BytesIO()
    torch.save(states, file)
    file.seek(0)
    other = LanguageModel()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert evaluate(other, text) == after
