from __future__ import annotations

from sru_apps.training.loader import BatchLoader
from sru_data.batching import LengthBatchSampler

ITEMS = ["a", "bb", "cc", "ddd", "e", "ffff", "g"]


def _loader() -> BatchLoader[str, str]:
    sampler = LengthBatchSampler([len(item) for item in ITEMS], batch_size=2, seed=3)
    return BatchLoader(ITEMS, sampler, "+".join)


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
