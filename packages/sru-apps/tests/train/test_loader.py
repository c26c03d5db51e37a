from __future__ import annotations

import pytest

from sru_apps.train.data import BatchLoader
from sru_data.loaders.buckets import LengthBatchSampler

ITEMS = ["a", "bb", "cc", "ddd", "e", "ffff", "g"]


def _loader(rank: int = 0, world_size: int = 1) -> BatchLoader[str, str]:
    sampler = LengthBatchSampler([len(item) for item in ITEMS], batch_size=2, seed=3)
    return BatchLoader(ITEMS, sampler, "+".join, rank=(rank, world_size))


def test_every_item_comes_once() -> None:
    batches = list(_loader())
    assert len(batches) == len(_loader()) == 4
    assert sorted("+".join(batches).split("+")) == sorted(ITEMS)


def test_continues_in_mid_epoch() -> None:
    undisturbed = _loader()
    undisturbed.sampler.set_epoch(5)
    expected = list(undisturbed)
    interrupted = _loader()
    interrupted.sampler.set_epoch(5)
    batches = iter(interrupted)
    assert [next(batches), next(batches)] == expected[:2]
    continued = _loader()
    continued.load_state_dict(interrupted.state_dict())
    continued.sampler.set_epoch(5)
    assert list(continued) == expected[2:]
    assert len(continued) == 4


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_processes_share_the_batches(world_size: int) -> None:
    whole = list(_loader())
    parts = [_loader(rank, world_size) for rank in range(world_size)]
    read = [list(part) for part in parts]
    assert {len(batches) for batches in read} == {len(part) for part in parts} == {-(-4 // world_size)}
    assert {batch for batches in read for batch in batches} == set(whole)
    assert [batches[0] for batches in read][: len(whole)] == whole[:world_size]


def test_a_process_continues_its_share() -> None:
    expected, loader = list(_loader(1, 2)), _loader(1, 2)
    assert next(iter(loader)) == expected[0]
    continued = _loader(1, 2)
    continued.load_state_dict(loader.state_dict())
    assert list(continued) == expected[1:]
