"""The attention of SRU++ against its equations, one position at a time; masks, memory, dropout, errors."""

from __future__ import annotations

import itertools
import re
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sru_nn import SRUppAttention, SRUppProjectedLinear
from sru_nn.cells.srupp import attention as attention_module

from ...conftest import examples

E, U, P = 3, 6, 4


def attention(**options):
    options = {"rezero_init_alpha": 0.7, "layer_norm": True} | options
    module = SRUppAttention(E, U, P, **options).double()
    if module.layer_norm is not None:
        torch.nn.init.normal_(module.layer_norm.weight)
        torch.nn.init.normal_(module.layer_norm.bias)
    return module


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def by_hand(module, x, allowed, bias, earlier):
    """Compute the equations of the docstring for each sequence, position and head.

    `allowed` is `(B, T, S)` bool, `bias` `(T, S)`, and x, `(S, B, E)`, begins with the memory.
    """
    before = module.layer_norm is not None and not module.normalize_after
    after = module.layer_norm is not None and module.normalize_after
    batches = []
    for b in range(x.shape[1]):
        residual = x[:, b] @ module.linear1.weight.T
        z = module.layer_norm(residual) if before else residual
        k, v = (z @ module.linear2.weight.T).chunk(2, -1)
        rows = []
        for t in range(x.shape[0] - earlier):
            heads = []
            for head in range(module.num_heads):
                own = slice(head * P // module.num_heads, (head + 1) * P // module.num_heads)
                seen = allowed[b, t].nonzero()[:, 0]
                scores = k[seen, own] @ z[earlier + t, own] / (P / module.num_heads) ** 0.5 + bias[t, seen]
                heads.append(scores.softmax(0) @ v[seen, own])
            rows.append(residual[earlier + t] + module.alpha * torch.cat(heads))
        stacked = torch.stack(rows)
        stacked = module.layer_norm(stacked) if after else stacked
        batches.append(stacked @ module.linear3.weight.T)
    return torch.stack(batches, 1)


@settings(examples, max_examples=40)
@given(
    length=st.integers(1, 5),
    earlier=st.integers(0, 3),
    heads=st.sampled_from([1, 2]),
    norm=st.sampled_from(["none", "before", "after"]),
    causal=st.booleans(),
    context=st.sampled_from([None, 1, 2]),
    mask=st.sampled_from(["none", "bool", "float", "float with -inf"]),
    padded=st.booleans(),
    memory_padded=st.booleans(),
    resets=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equations(length, earlier, heads, norm, causal, context, mask, padded, memory_padded, resets, seed):
    torch.manual_seed(seed)
    module = attention(
        num_heads=heads,
        layer_norm=norm != "none",
        normalize_after=norm == "after",
        causal=causal,
        context=context if causal else None,
    )
    x = draw(earlier + length, 2, E)
    pad = torch.zeros(earlier + length, 2, dtype=torch.bool)
    pad[earlier:] = padded & (torch.rand(length, 2) < 0.4)
    pad[:earlier] = memory_padded & (torch.rand(earlier, 2) < 0.4)
    bias = torch.zeros(length, earlier + length, dtype=torch.float64)
    if mask.startswith("float"):
        bias.normal_()
    forbidden = torch.rand(bias.shape) < 0.4 if mask in ("bool", "float with -inf") else bias > torch.inf

    reset = torch.zeros(earlier + length, 2, dtype=torch.bool)
    reset[earlier:] = resets & (torch.rand(length, 2) < 0.4)
    sequence = (reset & ~pad).cumsum(0).T

    allowed = ~forbidden & ~pad.T[:, None, :] & (sequence[:, earlier:, None] == sequence[:, None, :])
    distance = torch.arange(earlier, earlier + length)[:, None] - torch.arange(earlier + length)
    if causal:
        allowed &= (distance >= 0) & (distance <= (torch.inf if context is None else context))
    clean = x.masked_fill(pad[..., None], 0.0).requires_grad_()
    expected = by_hand(module, clean, allowed, bias, earlier)

    given_x = x.masked_fill(pad[..., None], torch.nan).requires_grad_()
    attn_mask = {
        "none": None,
        "bool": forbidden,
        "float": bias,
        "float with -inf": bias.masked_fill(forbidden, -torch.inf),
    }[mask]
    actual = module(
        given_x[earlier:],
        pad[earlier:] if padded else None,
        attn_mask,
        given_x[:earlier] if earlier else None,
        pad[:earlier] if memory_padded else None,
        reset=reset[earlier:] if resets else None,
    )
    real = ~pad[earlier:]
    torch.testing.assert_close(actual[real], expected[real])

    upstream = torch.randn_like(expected) * real[..., None]
    inputs = list(module.parameters())
    gradients = torch.autograd.grad(actual, [given_x, *inputs], upstream)
    expected_gradients = torch.autograd.grad(expected, [clean, *inputs], upstream)
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, reference.masked_fill(reference.isnan(), 0.0))


@pytest.mark.parametrize("mask", ["bool", "float"])
def test_a_position_that_may_attend_to_nothing_keeps_its_own_features(mask):
    module = attention(layer_norm=False)
    forbidden = torch.zeros(3, 3, dtype=torch.bool)
    forbidden[1] = True
    x = torch.randn(3, 2, E, dtype=torch.float64, requires_grad=True)
    attn_mask = forbidden if mask == "bool" else forbidden.double().masked_fill(forbidden, -torch.inf)
    u = module(x, None, attn_mask)
    torch.testing.assert_close(u[1], module.linear3(module.linear1(x[1])))
    u.sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_integers_are_added_to_the_scores(dtype):
    module, mask = attention(), torch.tensor([[0, 1, 100], [1, 0, 3], [100, 100, 0]])
    mask = -100 * mask if dtype == torch.int64 else mask
    x = draw(3, 2, E)
    u = module(x, None, mask.to(dtype))
    torch.testing.assert_close(u, module(x, None, mask.double()), rtol=0, atol=0)
    assert not torch.allclose(u, module(x))


def test_half_precision_keeps_a_very_low_mask_from_making_nan():
    module = SRUppAttention(E, U, P).half()
    attn_mask = torch.full((2, 2), -1e9)  # minus infinity in float16
    assert module(torch.randn(2, 1, E).half(), None, attn_mask).isfinite().all()


def test_a_learned_mask_has_a_gradient():
    module = attention()
    bias = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    module(draw(3, 2, E), None, bias).square().sum().backward()
    assert bias.grad.abs().min() > 0


OFFSETS = [[0], [0, 0], [0, 4], [0, 0, 1, 3, 3, 7, 8, 17, 18, 21, 21], [0, 3, 6, 9]]


@pytest.mark.parametrize("offsets", OFFSETS)
@pytest.mark.parametrize("read", [True, False], ids=["batches", "mask"])
@pytest.mark.parametrize(
    "options", [{}, {"causal": True, "num_heads": 2}, {"causal": True, "context": 2}], ids=str
)
def test_sequences_end_to_end_are_sequences_one_by_one(offsets, read, options):
    module = attention(**options)
    x = draw(offsets[-1], 1, E).requires_grad_()
    with patch.object(attention_module, "can_read", lambda *_: read):
        actual = module(x, cu_seqlens=torch.tensor(offsets, dtype=torch.int32))
    expected = torch.cat([module(x[slice(*pair)]) for pair in itertools.pairwise(offsets)] or [actual])
    torch.testing.assert_close(actual, expected)
    upstream, inputs = torch.randn_like(actual), [x, *module.parameters()]
    gradients, expected_gradients = (
        torch.autograd.grad(u, inputs, upstream, retain_graph=True, materialize_grads=True)
        for u in (actual, expected)
    )
    torch.testing.assert_close(gradients, expected_gradients)


def test_a_mask_between_positions_of_sequences_end_to_end():
    module, x, offsets = attention(), draw(7, 1, E), [0, 3, 3, 7]
    bias = draw(7, 7)
    bias[4, 3:] = -torch.inf
    actual = module(x, None, bias, cu_seqlens=torch.tensor(offsets))
    for first, end in itertools.pairwise(offsets):
        own = slice(first, end)
        torch.testing.assert_close(actual[own], module(x[own], None, bias[own, own]))


def test_a_long_sequence_makes_no_short_one_longer():
    module, lengths = attention(causal=True), [1, 40, 2, 3, 2, 3, 33]
    cu_seqlens = torch.tensor([0, *itertools.accumulate(lengths)])
    x = draw(sum(lengths), 1, E)
    with patch.object(F, "scaled_dot_product_attention", Spy()) as spy:
        u = module(x, cu_seqlens=cu_seqlens)
    assert [call["shapes"][0][::2] for call in spy.calls] == [(1, 1), (4, 3), (2, 40)]
    assert all(call["attn_mask"] is None for call in spy.calls)
    spoilt = x.clone()
    spoilt[cu_seqlens[2]] = torch.nan
    others = torch.ones(len(x), dtype=torch.bool)
    others[cu_seqlens[2] : cu_seqlens[3]] = False
    torch.testing.assert_close(module(spoilt, cu_seqlens=cu_seqlens)[others], u[others])


class Spy:
    """Wraps `scaled_dot_product_attention` and records its arguments."""

    def __init__(self):
        self.calls = []
        self.real = F.scaled_dot_product_attention

    def __call__(self, q, k, v, **options):
        self.calls.append(options | {"shapes": (tuple(q.shape), tuple(k.shape))})
        return self.real(q, k, v, **options)


def test_no_mask_is_made_where_none_is_needed():
    module, x = attention(causal=True), draw(5, 2, E)
    with patch.object(F, "scaled_dot_product_attention", Spy()) as spy:
        module(x)
        _, cache = module.stream(x)
        module.stream(x[:1], cache)
        attention()(x)
    assert [(call["attn_mask"], call["is_causal"]) for call in spy.calls] == [
        (None, True),
        (None, True),
        (None, False),
        (None, False),
    ]


@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_no_row_of_a_mask_forbids_everything(mask):
    # Whether a softmax over nothing is NaN depends on the device and on the version of PyTorch.
    forbidden = torch.eye(3, dtype=torch.bool)
    forbidden[1] = True
    pad = torch.tensor([[False, True], [True, True], [False, True]])
    bias = forbidden.double().masked_fill(forbidden, -torch.inf)
    attn_mask = {"none": None, "bool": forbidden, "float": bias}[mask]
    with patch.object(F, "scaled_dot_product_attention", Spy()) as spy:
        attention(causal=True)(X, pad, attn_mask)
    made = spy.calls[0]["attn_mask"]
    allowed = made if made.dtype == torch.bool else made > -torch.inf
    assert allowed.any(-1).all()
    expected = ~pad.T[:, None] & torch.ones(3, 3, dtype=torch.bool).tril()
    expected = expected if mask == "none" else expected & ~forbidden
    assert torch.equal(allowed[:, 0], expected | ~expected.any(-1, keepdim=True))


def test_padding_needs_no_mask_for_each_head():
    module, x = attention(num_heads=2), draw(5, 3, E)
    with patch.object(F, "scaled_dot_product_attention", Spy()) as spy:
        module(x, torch.rand(5, 3) < 0.3)
    assert spy.calls[0]["attn_mask"].shape == (3, 1, 1, 5)


def test_dropout_of_the_map_drops_whole_weights_in_training_only():
    module = attention(attn_dropout=0.5, layer_norm=False, rezero_init_alpha=1.0)
    x = draw(1, 64, E)
    z = module.linear1(x)
    v = module.linear2(z)[..., P:]
    attended = module(x) @ torch.linalg.pinv(module.linear3.weight.T) - z
    ratio = attended / v  # one position: its weight is one
    kept = (ratio - 2).abs() < 1e-8
    assert (kept | (ratio.abs() < 1e-8)).all()
    assert 10 < int(kept[0, :, 0].sum()) < 54
    assert torch.equal(kept.all(-1), kept.any(-1))  # for all features of a head at once
    module.eval()
    torch.testing.assert_close(module(x), module.linear3(z + v))


def test_dropout_before_the_last_matrix():
    module = attention(dropout=0.5)
    x = draw(4, 2, E)
    with patch.object(torch.nn.Dropout, "forward", lambda self, z: z * 0):
        assert not module(x).any()
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


@pytest.mark.parametrize("context", [None, 2])
def test_stream_remembers_no_more_than_the_context(context):
    module = attention(causal=True, context=context, num_heads=2)
    x = draw(7, 2, E)
    cache, parts = None, []
    for start, stop in [(0, 3), (3, 3), (3, 4), (4, 7)]:
        u, cache = module.stream(x[start:stop], cache)
        parts.append(u)
        kept = stop if context is None else min(stop, context)
        assert cache.keys.shape == cache.values.shape == (2, 2, kept, P // 2)
    torch.testing.assert_close(torch.cat(parts), module(x))


def test_initialisation():
    module = SRUppAttention(E, 300, 200, dropout=0.75, rezero_init_alpha=0.3)
    assert module.alpha.item() == pytest.approx(0.3)
    weights = (module.linear1.weight, module.linear2.weight, module.linear3.weight)
    for weight, scale in zip(weights, (1.0, 1.0, 0.5), strict=True):
        bound = scale * (6 / sum(weight.shape)) ** 0.5
        assert 0.95 * bound < weight.abs().max() <= bound
    before = module.linear2.weight.clone()
    torch.nn.init.ones_(module.alpha)
    module.reset_parameters()
    assert module.alpha.item() == pytest.approx(0.3)
    assert not torch.equal(module.linear2.weight, before)


def test_projected_linear():
    module = SRUppProjectedLinear(E, U, P, dropout=0.5, layer_norm=True).double()
    x = draw(4, 2, E)
    module.eval()
    expected = F.layer_norm(x @ module.linear1.weight.T, (P,)) @ module.linear2.weight.T
    torch.testing.assert_close(module(x, torch.ones(4, 2), None, x), expected)
    module.train()
    with patch.object(torch.nn.Dropout, "forward", lambda self, z: z * 0):
        assert not module(x).any()


BAD_ARGUMENTS = [
    ({"in_features": 0}, "in_features must be at least 1, got 0"),
    ({"proj_features": 0}, "proj_features must be at least 1, got 0"),
    ({"dropout": 1.0}, "dropout must be a probability in [0, 1), got 1.0"),
    ({"attn_dropout": -0.1}, "attn_dropout must be a probability in [0, 1), got -0.1"),
    ({"num_heads": 3}, "proj_features must be a multiple of num_heads, got 4 and 3"),
    ({"context": 2}, "context needs causal=True, got context=2"),
    ({"context": 0, "causal": True}, "context must be at least 1, got 0"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_arguments_outside_their_range(arguments, message):
    usual = {"in_features": E, "out_features": U, "proj_features": P}
    with pytest.raises(ValueError, match=re.escape(f"SRUppAttention: {message}")):
        SRUppAttention(**usual | arguments)


X = torch.zeros(3, 2, E).double()
BAD_INPUTS = [
    ((X[0],), "input must have shape (T, B, E) with E = 3, got (2, 3)"),
    ((X[..., :2],), "input must have shape (T, B, E) with E = 3, got (3, 2, 2)"),
    ((X, X[:2, :, 0]), "mask_pad must have shape (T, B) = (3, 2), got (2, 2)"),
    ((X, None, X[:, :, 0]), "attn_mask must have shape (T, M + T) = (3, 3), got (3, 2)"),
    ((X, None, torch.zeros(3, 3), X[:1]), "attn_mask must have shape (T, M + T) = (3, 4), got (3, 3)"),
    ((X, None, None, X[:, :1]), "memory must have shape (M, B, E) = (3, 2, 3), got (3, 1, 3)"),
    ((X, None, None, X[:1], X[..., 0]), "memory_mask_pad must have shape (M, B) = (1, 2), got (3, 2)"),
]
ENDS = torch.tensor([0, 3])
BAD_SEQUENCES = [
    ((X,), {"reset": X[:2, :, 0] > 0}, "reset must have shape (T, B) = (3, 2), got (2, 2)"),
    ((X,), {"cu_seqlens": ENDS}, "input must have shape (total, 1, E) = (3, 1, 3), got (3, 2, 3)"),
    ((X[:2, :1],), {"cu_seqlens": ENDS}, "cu_seqlens must end at the number of positions, 2, got 3"),
    ((X[:, :1], X[:, :1, 0]), {"cu_seqlens": ENDS}, "with cu_seqlens pass mask_pad=None"),
    ((X[:, :1],), {"cu_seqlens": ENDS, "reset": X[:, :1, 0] > 0}, "with cu_seqlens pass reset=None"),
    (
        (X[:, :1], None, None, X[:, :1]),
        {"cu_seqlens": ENDS},
        "with cu_seqlens pass memory=None; a memory needs a batch (T, B, E)",
    ),
]


@pytest.mark.parametrize(
    ("inputs", "options", "message"), [*((i, {}, m) for i, m in BAD_INPUTS), *BAD_SEQUENCES]
)
def test_shapes_that_do_not_fit(inputs, options, message):
    with pytest.raises(ValueError, match=re.escape(f"SRUppAttention: {message}")):
        attention()(*inputs, **options)


def test_dtypes_that_do_not_fit():
    with pytest.raises(TypeError, match=r"attn_mask must be bool .* or of real numbers .* torch.complex64"):
        attention()(X, None, torch.zeros(3, 3, dtype=torch.complex64))
    with pytest.raises(TypeError, match="SRUppAttention: input must have the dtype of the parameters"):
        attention()(X.float())


def test_stream_needs_causal_attention():
    with pytest.raises(ValueError, match="SRUppAttention: stream needs causal=True"):
        attention().stream(X)
