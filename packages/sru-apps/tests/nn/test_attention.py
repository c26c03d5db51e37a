from __future__ import annotations

import torch

from sru_apps.nn import AlignedAttention, BilinearAttention, weighted_mean


def mask_of(lengths: list[int], steps: int) -> torch.Tensor:
    return torch.arange(steps).unsqueeze(1) >= torch.tensor(lengths)


def test_aligned_attention_is_a_mean_of_similar_words() -> None:
    torch.manual_seed(0)
    attention = AlignedAttention(3).double()
    x, y = (torch.randn(steps, 2, 3, dtype=torch.float64) for steps in (4, 5))
    lengths = [5, 2]
    found = attention(x, y, mask_of(lengths, 5))
    for b, length in enumerate(lengths):
        for t in range(4):
            ours = torch.relu(attention.projection(x[t, b]))
            scores = [ours @ torch.relu(attention.projection(y[j, b])) for j in range(length)]
            shares = torch.stack(scores).exp()
            expected = sum(a * y[j, b] for j, a in enumerate(shares / shares.sum()))
            torch.testing.assert_close(found[t, b], expected)
    short = y[:2].contiguous()
    torch.testing.assert_close(attention(x, short), attention(x, short, mask_of([2, 2], 2)))


def test_bilinear_attention_scores_real_positions() -> None:
    torch.manual_seed(0)
    attention = BilinearAttention(3, 2).double()
    x, y = torch.randn(4, 2, 3, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    found = attention(x.split([2, 1], -1), y, mask_of([4, 1], 4))
    weight, bias = attention.projection.weight, attention.projection.bias
    for b, length in enumerate([4, 1]):
        for t in range(length):
            torch.testing.assert_close(found[b, t], x[t, b] @ weight @ y[b] + x[t, b] @ bias)
    assert (found[1, 1:] == -torch.inf).all()
    torch.testing.assert_close(attention([x], y)[0], found[0])


def test_scores_in_half_precision_are_added_up_in_float32() -> None:
    attention = BilinearAttention(3, 2).bfloat16()
    assert attention([torch.randn(4, 2, 3).bfloat16()], torch.randn(2, 2).bfloat16()).dtype == torch.float32


def test_weighted_mean() -> None:
    weights, x = torch.tensor([[0.25, 0.75], [1.0, 0.0]]), torch.tensor([[[4.0], [5.0]], [[8.0], [6.0]]])
    assert weighted_mean(weights, [x, -x]).tolist() == [[7.0, -7.0], [5.0, -5.0]]


def test_gradients_of_bilinear_attention() -> None:
    torch.manual_seed(0)
    attention = BilinearAttention(3, 2).double()
    x, y, kept = (torch.randn(*shape, dtype=torch.float64) for shape in ((4, 2, 3), (2, 2), (2, 3)))
    torch.testing.assert_close(attention([x], y, None, kept), attention([x * kept], y))

    def scores(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return attention(x.split([2, 1], -1), y, None, kept)

    assert torch.autograd.gradcheck(scores, (x.requires_grad_(), y.requires_grad_()))
