from __future__ import annotations

import torch

from sru_apps.encoders import pool


def test_pool_takes_maximum_and_mean_of_real_positions() -> None:
    h = torch.tensor([[[1.0], [-1.0]], [[3.0], [-2.0]], [[-5.0], [0.0]]])
    mask = torch.tensor([[False, False], [False, False], [False, True]])
    torch.testing.assert_close(pool(h, mask), torch.tensor([[3.0, -1 / 3], [-1.0, -1.5]]))
