"""Training with weights, gradients and optimizer state shared out over the processes (FSDP)."""

from __future__ import annotations

import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from sru_apps.train.errors import UserError

SHARDS_ON_CPU = hasattr(torch.cpu.Stream, "record_event")
"""Whether `fully_shard` works on the CPU, which it does not in torch 2.6."""


def sharded_strategy(devices: object, num_nodes: int) -> ModelParallelStrategy:
    """What `--trainer.strategy fsdp` stands for: PyTorch's `fully_shard` (FSDP2) over all processes.

    It needs no GPU and clips gradients by their norm, both unlike Lightning's strategy of this name, and its
    checkpoints are whole, so that everything else reads them as those of one process.

    Args:
        devices: Devices of each machine.
        num_nodes: Machines.

    Returns:
        The strategy.

    Raises:
        UserError: When the number of devices is not given as a number.
    """
    try:
        processes = int(str(devices)) * num_nodes
    except ValueError:
        processes = 0
    if processes < 1:
        raise UserError(
            f"the strategy fsdp needs the number of devices, got {devices!r}; give --trainer.devices 2, or so"
        )
    return ModelParallelStrategy(
        data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def shard(network: nn.Module, mesh: DeviceMesh, *, methods: tuple[str, ...] = ()) -> None:
    """Share out the parameters of a network in place, once.

    Args:
        network: The network.
        mesh: The processes, with an axis `data_parallel`.
        methods: Methods that use the parameters and are called instead of `forward`.

    Raises:
        UserError: When the processes are on the CPU and this version of torch cannot do that.
    """
    if mesh.device_type == "cpu" and not SHARDS_ON_CPU:
        raise UserError(
            f"the strategy fsdp needs GPUs in torch {torch.__version__}, got CPUs; "
            "give --trainer.strategy ddp, or install a newer torch"
        )
    # Not at the top: importing it takes a while, and most runs do without.
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    if isinstance(network, FSDPModule):
        return
    fully_shard(network, mesh=mesh["data_parallel"])
    for name in methods:
        register_fsdp_forward_method(network, name)
