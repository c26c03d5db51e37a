from __future__ import annotations

import torch

from sru_apps.nn import AttentionPooling, last, pool


def test_pool_takes_maximum_and_mean_of_real_positions() -> None:
    h = torch.tensor([[[1.0], [-1.0]], [[3.0], [-2.0]], [[-5.0], [0.0]]])
    mask = torch.tensor([[False, False], [False, False], [False, True]])
    torch.testing.assert_close(pool(h, mask), torch.tensor([[3.0, -1 / 3], [-1.0, -1.5]]))


def test_pool_without_a_mask_takes_all_positions() -> None:
    h = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pool(h), pool(h, torch.zeros(5, 3, dtype=torch.bool)))


def test_pool_gives_its_gradient_to_one_maximum_and_to_all_the_mean() -> None:
    h = torch.tensor([1.0, 3.0, 3.0, 0.0]).view(4, 1, 1).requires_grad_()
    mask = torch.tensor([False, False, False, True]).view(4, 1)
    maximum, mean = (torch.autograd.grad(pool(h, mask)[0, i], h)[0].flatten() for i in (0, 1))
    torch.testing.assert_close(maximum.sort().values, torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert maximum[1] + maximum[2] == 1
    torch.testing.assert_close(mean[:3], torch.full((3,), 1 / 3))


def test_last_is_the_last_word_and_backwards_the_first() -> None:
    h = torch.arange(12.0).view(3, 2, 2)
    mask = torch.tensor([[False, False], [False, False], [False, True]])
    assert last(h, mask).tolist() == [[8, 9], [6, 7]]
    assert last(h, mask, bidirectional=True).tolist() == [[8, 1], [6, 3]]
    assert last(h).tolist() == [[8, 9], [10, 11]]


def test_attention_weighs_real_positions_alone() -> None:
    h = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[False] * 2, [False] * 2, [False, True], [False, True]])
    pooling = AttentionPooling(3)
    for place, length in enumerate((4, 2)):
        own = h[:length, place]
        expected = pooling.query(own).softmax(0).t() @ own
        torch.testing.assert_close(pooling(h, mask)[place], expected[0])
    torch.testing.assert_close(pooling(h), pooling(h, torch.zeros_like(mask)))
