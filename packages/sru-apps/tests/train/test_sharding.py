from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import nn

from sru_apps.train import module as sharding
from sru_apps.train.errors import UserError
from sru_apps.train.module import shard, sharded_strategy


@pytest.mark.parametrize("devices", ["auto", -1, [0, 1]])
def test_the_number_of_devices_must_be_known(devices: object) -> None:
    with pytest.raises(UserError, match=r"the strategy fsdp needs the number of devices, got .*devices 2"):
        sharded_strategy(devices, 1)


def test_all_processes_share() -> None:
    strategy = sharded_strategy("2", 3)
    assert (strategy._data_parallel_size, strategy._tensor_parallel_size) == (6, 1)


def test_no_gpu_with_an_old_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "SHARDS_ON_CPU", False)
    with pytest.raises(UserError, match=r"needs GPUs in torch .*, got CPUs; give --trainer.strategy ddp"):
        shard(nn.Linear(2, 2), SimpleNamespace(device_type="cpu"))
