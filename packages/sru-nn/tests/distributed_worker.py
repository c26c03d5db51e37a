"""Trains small models alone, under DDP and under FSDP2, in two processes, and writes the results.

A separate program, started by test_distributed.py: a new process must be able to import what it runs.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

import sru_nn
from sru_nn import SRU, SLiGRU, backend
from sru_nn.compat import LSTM

# PyTorch 2.6 supports FSDP2 only on devices with streams.
FSDP_RUNS_ON_CPU = hasattr(torch.cpu.Stream, "record_event")
T, B, E, D, L, STEPS, PROCESSES = 5, 4, 6, 4, 2, 4, 2

MODELS: dict[str, Callable[[], nn.Module]] = {
    "SRU": lambda: SRU(E, D, L, bidirectional=True, layer_norm=True, rescale=True),
    "SRU with projections": lambda: SRU(E, D, L, projection_size=2, proj_input_to_hidden_first=True),
    "LSTM": lambda: LSTM(E, D, L, bidirectional=True, proj_size=2),
    "SLiGRU": lambda: SLiGRU(E, D, L, bidirectional=True, normalization="layer"),
}
if hasattr(sru_nn, "SRUpp"):
    MODELS["SRUpp"] = lambda: sru_nn.SRUpp(E, D, 4, L)


def main() -> None:
    """Start the processes; the first of them writes results.json into the folder."""
    # Forked processes have everything imported; no thread has started yet.
    mp.start_processes(work, (Path(sys.argv[1]),), nprocs=PROCESSES, start_method="fork")


def work(rank: int, folder: Path) -> None:
    """Run one process of the group."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting-point",
        rank=rank,
        world_size=PROCESSES,
        timeout=timedelta(seconds=60),
    )
    try:
        results = {name: outcomes(make, rank) for name, make in MODELS.items()}
        if rank == 0:
            (folder / "results.json").write_text(json.dumps({"backend": backend.active(), "models": results}))
        dist.barrier()
    finally:
        dist.destroy_process_group()


def outcomes(make: Callable[[], nn.Module], rank: int) -> dict[str, list[float]]:
    """Train one model in every way, from the same weights on the same data."""
    torch.manual_seed(0)
    model = make().double()
    x, mask = (
        torch.randn(T, B, E, dtype=torch.float64),
        torch.arange(T)[:, None] >= torch.tensor([5, 3, 4, 1]),
    )
    mine = slice(rank * B // PROCESSES, (rank + 1) * B // PROCESSES)
    found = {"alone": train(copy.deepcopy(model), x, mask)}
    ways = (ddp, fsdp_layers, fsdp_whole) if FSDP_RUNS_ON_CPU else (ddp,)
    for wrap in ways:
        found[wrap.__name__] = train(wrap(copy.deepcopy(model)), x[:, mine], mask[:, mine])
    if not FSDP_RUNS_ON_CPU:
        return found
    low = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    found["fsdp_bfloat16"] = train(
        fsdp_layers(copy.deepcopy(model), mp_policy=low), x[:, mine], mask[:, mine]
    )
    return found


def ddp(model: nn.Module) -> nn.Module:
    """Copy the model to each process."""
    return DistributedDataParallel(model)


def fsdp_layers(model: nn.Module, **options: object) -> nn.Module:
    """Shard each layer, and then the remaining parameters."""
    for layer in model.layers if isinstance(model, SLiGRU) else model.rnn_lst:
        fully_shard(layer, mesh=init_device_mesh("cpu", (PROCESSES,)), **options)
    return fsdp_whole(model, **options)


def fsdp_whole(model: nn.Module, **options: object) -> nn.Module:
    """Shard the model as a whole."""
    return fully_shard(model, mesh=init_device_mesh("cpu", (PROCESSES,)), **options)


def train(model: nn.Module, x: Tensor, mask: Tensor) -> list[float]:
    """Return, over all processes, each step's loss, then the size of one decoded step and of the weights."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    numbers = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        h, *_ = model(x, mask_pad=mask)
        loss = (h.double().sum(-1) - x.sum(-1)).square().mean()
        loss.backward()
        optimizer.step()
        numbers.append(mean_over_processes(loss.detach()))
    with torch.no_grad():
        h, *_ = model(x[:1])
        numbers.append(mean_over_processes(h.double().square().mean()))
    norms = [getattr(p, "full_tensor", lambda p=p: p)().square().sum() for p in model.parameters()]
    return [*numbers, float(torch.stack(norms).sum().detach())]


def mean_over_processes(value: Tensor) -> float:
    """Average a number over the processes; one that is equal in all is unchanged."""
    dist.all_reduce(value)
    return float(value) / PROCESSES


if __name__ == "__main__":
    main()
