"""A user's program with sru-nn, with or without kernels: train a small network until its loss has halved."""

from importlib.util import find_spec

import torch

from sru_nn import SRU, backend

expected = "kernels" if find_spec("sru_kernels") else "reference"
assert backend.active("cpu") == expected, backend.active("cpu")

torch.manual_seed(0)
x = torch.randn(20, 8, 4)  # (T, B, E)
target = x.cumsum(dim=0).tanh().mean(dim=2)  # (T, B)

sru = SRU(4, 16, num_layers=2)
head = torch.nn.Linear(16, 1)
optimizer = torch.optim.Adam([*sru.parameters(), *head.parameters()], lr=0.01)

losses = []
for _ in range(60):
    h, c = sru(x)
    loss = (head(h).squeeze(-1) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

assert h.shape == (20, 8, 16), h.shape
assert c.shape == (2, 8, 16), c.shape
assert losses[-1] < losses[0] / 2, f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f} only"
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
