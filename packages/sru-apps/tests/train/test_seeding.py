from __future__ import annotations

from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from sru_apps.seeds import place_seed
from sru_apps.train.checkpoints import SeedEveryStep

numbers = st.integers(0, 10**6)


@given(numbers, numbers, numbers)
def test_neighbouring_places_have_other_seeds(seed: int, epoch: int, batch: int) -> None:
    places = [
        (seed, epoch, batch),
        (seed + 1, epoch, batch),
        (seed, epoch + 1, batch),
        (seed, epoch, batch + 1),
    ]
    seeds = [place_seed(*place) for place in places]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= value < 2**63 for value in seeds)


def draw(seed: int, epoch: int, batch: int, rank: int = 0) -> torch.Tensor:
    trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    module = SimpleNamespace(device=torch.device("cpu"))
    SeedEveryStep(seed).on_train_batch_start(trainer, module, None, batch)
    return torch.rand(4)


def test_draws_are_those_of_manual_seed() -> None:
    first = draw(0, 1, 2)
    torch.manual_seed(place_seed(0, 1, 2))
    assert torch.equal(torch.rand(4), first)


def test_nothing_is_queued_for_devices_that_are_not_in_use() -> None:
    draw(0, 1, 2)
    queued = len(torch.cuda._queued_calls)
    draw(0, 1, 3)
    assert len(torch.cuda._queued_calls) == queued


def test_draws_depend_on_the_place_alone() -> None:

    first = draw(0, 1, 2)
    torch.rand(3)
    assert torch.equal(draw(0, 1, 2), first)
    assert not torch.equal(draw(0, 1, 3), first)
    assert not torch.equal(draw(1, 1, 2), first)
    assert not torch.equal(draw(0, 1, 2, rank=1), first)
