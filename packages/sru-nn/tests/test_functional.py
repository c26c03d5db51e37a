"""The arguments that `sru_recurrence` accepts, and how it refuses others."""

from __future__ import annotations

import re

import pytest
import torch

from sru_nn.functional import gated_linear_recurrence, mingru_recurrence, sru_recurrence

T, B, N, D = 4, 3, 2, 5
COLUMNS = N * D


def arguments(**changes) -> dict:
    base = {
        "u": torch.randn(T, B, 3, COLUMNS),
        "v": torch.randn(2, COLUMNS),
        "bias": torch.randn(2, COLUMNS),
        "c0": torch.randn(B, COLUMNS),
        "x": torch.randn(T, B, COLUMNS),
    }
    return base | changes


WRONG = {
    "u without gates": (
        {"u": torch.randn(T, B, 30)},
        ValueError,
        "u must have shape (T, B, K, N·D) with K = 3 or 4, got (4, 3, 30)",
    ),
    "u with two gates": ({"u": torch.randn(T, B, 2, COLUMNS)}, ValueError, "K = 3 or 4, got (4, 3, 2, 10)"),
    "u of integers": (
        {"u": torch.ones(T, B, 3, COLUMNS, dtype=torch.int64)},
        TypeError,
        "u must be float32, float64, float16 or bfloat16, got torch.int64",
    ),
    "v": ({"v": torch.randn(COLUMNS, 2)}, ValueError, "v must have shape (2, N·D) = (2, 10), got (10, 2)"),
    "v per position": (
        {"v": torch.randn(B, T, 2, COLUMNS)},
        ValueError,
        "v must have shape (T, B, 2, N·D) = (4, 3, 2, 10), got (3, 4, 2, 10)",
    ),
    "bias": (
        {"bias": torch.randn(COLUMNS)},
        ValueError,
        "bias must have shape (2, N·D) = (2, 10), got (10,)",
    ),
    "c0": ({"c0": torch.randn(B, D)}, ValueError, "c0 must have shape (B, N·D) = (3, 10), got (3, 5)"),
    "c0 in half": (
        {"c0": torch.randn(B, COLUMNS).half()},
        TypeError,
        "c0 must be torch.float32 with u of torch.float32, got torch.float16",
    ),
    "x": (
        {"x": torch.randn(B, T, COLUMNS)},
        ValueError,
        "x must have shape (T, B, N·D) = (4, 3, 10), got (3, 4, 10)",
    ),
    "x in double": ({"x": torch.randn(T, B, COLUMNS).double()}, TypeError, "x must be torch.float32"),
    "x beside u_x": (
        {"u": torch.randn(T, B, 4, COLUMNS)},
        ValueError,
        "brings its own highway term u_x; pass x=None",
    ),
    "scale without x": ({"x": None, "scale_x": 2.0}, ValueError, "scale_x = 2.0 has no effect without x"),
    "mask_c": (
        {"mask_c": torch.ones(T, B, COLUMNS)},
        ValueError,
        "mask_c must have shape (B, N·D) = (3, 10), got (4, 3, 10)",
    ),
    "mask_pad": (
        {"mask_pad": torch.zeros(B, T, dtype=torch.bool)},
        ValueError,
        "mask_pad must have shape (T, B) = (4, 3), got (3, 4)",
    ),
    "mask_pad of numbers": ({"mask_pad": torch.zeros(T, B)}, TypeError, "mask_pad must be torch.bool"),
    "device": (
        {"bias": torch.empty(2, COLUMNS, device="meta")},
        ValueError,
        "bias must be on the device of u, cpu, got meta",
    ),
    "activation": (
        {"activation": "selu"},
        ValueError,
        "activation must be one of ('identity', 'tanh', 'relu'), got 'selu'",
    ),
    "odd columns": (
        {"u": torch.randn(T, B, 3, 9), "bidirectional": True},
        ValueError,
        "bidirectional needs an even number of columns N·D, got 9",
    ),
}


RESET = torch.zeros(T, B, dtype=torch.bool)
CU_SEQLENS = torch.tensor([0, 1, T])
WRONG |= {
    "reset": ({"reset": RESET.t()}, ValueError, "reset must have shape (T, B) = (4, 3), got (3, 4)"),
    "reset of numbers": ({"reset": RESET.float()}, TypeError, "reset must be torch.bool"),
    "c_reset": (
        {"reset": RESET, "c_reset": torch.randn(B, COLUMNS)},
        ValueError,
        "c_reset must have shape (N·D,) = (10,), got (3, 10)",
    ),
    "c_reset alone": (
        {"c_reset": torch.randn(COLUMNS)},
        ValueError,
        "c_reset has no effect without reset; pass reset, or c_reset=None",
    ),
    "length_parallel with reset": (
        {"reset": RESET, "length_parallel": True},
        ValueError,
        "length_parallel takes no reset and no cu_seqlens; choose length_parallel=False",
    ),
    "cu_seqlens beside a batch": (
        {"cu_seqlens": CU_SEQLENS},
        ValueError,
        "with cu_seqlens u must hold the sequences end to end, as a batch of one, got (4, 3, 3, 10)",
    ),
}
END_TO_END = {
    "u": torch.randn(T, 1, 3, COLUMNS),
    "x": torch.randn(T, 1, COLUMNS),
    "c0": torch.randn(2, COLUMNS),
    "cu_seqlens": CU_SEQLENS,
}
WRONG |= {
    f"cu_seqlens with {name}": (END_TO_END | changes, error, message)
    for name, changes, error, message in [
        (
            "mask_pad",
            {"mask_pad": RESET},
            ValueError,
            "with cu_seqlens pass mask_pad=None; there is no padding",
        ),
        (
            "reset",
            {"reset": RESET},
            ValueError,
            "with cu_seqlens pass reset=None; add a boundary to cu_seqlens",
        ),
        (
            "c_reset",
            {"c_reset": torch.randn(COLUMNS)},
            ValueError,
            "with cu_seqlens pass c_reset=None; c0 has a state per sequence",
        ),
        (
            "c0 of another batch",
            {"c0": torch.randn(B, COLUMNS)},
            ValueError,
            "c0 must have shape (S, N·D) = (2, 10), got (3, 10)",
        ),
        (
            "mask_c of another batch",
            {"mask_c": torch.randn(1, COLUMNS)},
            ValueError,
            "mask_c must have shape (S, N·D) = (2, 10), got (1, 10)",
        ),
        (
            "another end",
            {"cu_seqlens": CU_SEQLENS + torch.tensor([0, 0, 1])},
            ValueError,
            "cu_seqlens must end at the number of positions, 4, got 5",
        ),
    ]
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    changes, error, message = WRONG[case]
    with pytest.raises(error, match="^sru_recurrence: .*" + re.escape(message)):
        sru_recurrence(**arguments(**changes))


def test_defaults_are_one_direction_from_a_zero_state():
    given = arguments(c0=None, x=None)
    h, c = sru_recurrence(**given)
    h_zero, c_zero = sru_recurrence(**arguments(**given | {"c0": torch.zeros(B, COLUMNS)}))
    assert torch.equal(h, h_zero)
    assert torch.equal(c, c_zero)
    # One direction: outputs do not depend on later steps.
    h_short, _ = sru_recurrence(**given | {"u": given["u"][:2]})
    torch.testing.assert_close(h[:2], h_short)


def test_non_contiguous_inputs():
    given = arguments()
    strided = {
        name: torch.stack([tensor, tensor], dim=-1)[..., 0]
        for name, tensor in given.items()
        if tensor is not None
    }
    assert not strided["u"].is_contiguous()
    torch.testing.assert_close(sru_recurrence(**strided), sru_recurrence(**given))


H, K, V = 2, 4, 3


def gated_linear_arguments(**changes) -> dict:
    base = {
        "q": torch.randn(T, B, H, K),
        "k": torch.randn(T, B, H, K),
        "v": torch.randn(T, B, H, V),
        "log_g": -torch.rand(T, B, H, K),
        "s0": torch.randn(B, H, K, V),
        "mask_pad": torch.zeros(T, B, dtype=torch.bool),
    }
    return base | changes


WRONG_GATED_LINEAR = {
    "q without heads": (
        {"q": torch.randn(T, B, 8)},
        ValueError,
        "q must have shape (T, B, H, K), got (4, 3, 8); reshape the projection's output",
    ),
    "q of integers": (
        {"q": torch.ones(T, B, H, K, dtype=torch.int64)},
        TypeError,
        "q must be float32, float64, float16 or bfloat16, got torch.int64",
    ),
    "k": ({"k": torch.randn(T, B, H, V)}, ValueError, "k must have shape (T, B, H, K) = (4, 3, 2, 4), got"),
    "k in half": (
        {"k": torch.randn(T, B, H, K).half()},
        TypeError,
        "k must be torch.float32 with q of torch.float32, got torch.float16",
    ),
    "v without heads": (
        {"v": torch.randn(T, B, 6)},
        ValueError,
        "v must have shape (T, B, H, V) = (4, 3, 2, V), got (4, 3, 6)",
    ),
    "log_g": (
        {"log_g": -torch.rand(T, B, H)},
        ValueError,
        "log_g must have shape (T, B, H, K) = (4, 3, 2, 4)",
    ),
    "s0": (
        {"s0": torch.randn(B, H, V, K)},
        ValueError,
        "s0 must have shape (B, H, K, V) = (3, 2, 4, 3), got",
    ),
    "s0 elsewhere": (
        {"s0": torch.empty(B, H, K, V, device="meta")},
        ValueError,
        "s0 must be on the device of q, cpu, got meta",
    ),
    "mask_pad": ({"mask_pad": torch.zeros(T, B)}, TypeError, "mask_pad must be torch.bool"),
    "s_reset": (
        {"reset": RESET, "s_reset": torch.randn(B, H, K, V)},
        ValueError,
        "s_reset must have shape (H, K, V) = (2, 4, 3), got (3, 2, 4, 3)",
    ),
    "s_reset alone": ({"s_reset": torch.randn(H, K, V)}, ValueError, "s_reset has no effect without reset"),
}


@pytest.mark.parametrize("case", WRONG_GATED_LINEAR)
def test_wrong_arguments_of_the_gated_linear_recurrence(case):
    changes, error, message = WRONG_GATED_LINEAR[case]
    with pytest.raises(error, match="^gated_linear_recurrence: .*" + re.escape(message)):
        gated_linear_recurrence(**gated_linear_arguments(**changes))


def mingru_arguments(**changes) -> dict:
    base = {
        "u": torch.randn(T, B, 2, D),
        "h0": torch.randn(B, D),
        "mask_pad": torch.zeros(T, B, dtype=torch.bool),
    }
    return base | changes


WRONG_MINGRU = {
    "u": (
        {"u": torch.randn(T, B, 10)},
        ValueError,
        "u must have shape (T, B, 2, D), got (4, 3, 10); reshape the projection's output",
    ),
    "u of integers": ({"u": torch.ones(T, B, 2, D, dtype=torch.int64)}, TypeError, "u must be float32"),
    "h0": ({"h0": torch.randn(B, 2, D)}, ValueError, "h0 must have shape (B, D) = (3, 5), got (3, 2, 5)"),
    "mask_pad": (
        {"mask_pad": torch.zeros(B, T, dtype=torch.bool)},
        ValueError,
        "mask_pad must have shape (T, B) = (4, 3), got (3, 4)",
    ),
    "reset of numbers": ({"reset": RESET.float()}, TypeError, "reset must be torch.bool"),
    "h_reset": (
        {"reset": RESET, "h_reset": torch.randn(B, D)},
        ValueError,
        "h_reset must have shape (D,) = (5,), got (3, 5)",
    ),
    "h_reset alone": ({"h_reset": torch.randn(D)}, ValueError, "h_reset has no effect without reset"),
    "cu_seqlens": (
        {"mask_pad": None, "cu_seqlens": CU_SEQLENS},
        ValueError,
        "with cu_seqlens u must hold the sequences end to end, as a batch of one, got (4, 3, 2, 5)",
    ),
}


@pytest.mark.parametrize("case", WRONG_MINGRU)
def test_wrong_arguments_of_the_mingru_recurrence(case):
    changes, error, message = WRONG_MINGRU[case]
    with pytest.raises(error, match="^mingru_recurrence: .*" + re.escape(message)):
        mingru_recurrence(**mingru_arguments(**changes))


NOT_TENSORS = {
    "None": (lambda tensor: None, "None"),
    "an array": (lambda tensor: tensor.numpy(), "a ndarray"),
    "a list": (lambda tensor: tensor.tolist(), "a list"),
    "a tuple": (lambda tensor: (tensor, tensor), "a tuple"),
}
FUNCTIONS = {
    sru_recurrence: (arguments, ("u", "v", "bias"), ("c0", "x")),
    gated_linear_recurrence: (gated_linear_arguments, ("q", "k", "v", "log_g"), ("s0", "mask_pad")),
    mingru_recurrence: (mingru_arguments, ("u",), ("h0", "mask_pad")),
}


@pytest.mark.parametrize("kind", NOT_TENSORS)
@pytest.mark.parametrize(
    ("function", "name"),
    [(function, name) for function, (_, *names) in FUNCTIONS.items() for name in sum(names, ())],
)
def test_what_is_not_a_tensor(function, name, kind):
    make, _, optional = FUNCTIONS[function]
    change, got = NOT_TENSORS[kind]
    given = make()
    given[name] = change(given[name])
    if kind == "None" and name in optional:
        assert isinstance(function(**given)[0], torch.Tensor)
        return
    message = f"^{function.__name__}: {name} must be a tensor, got {got}"
    with pytest.raises(TypeError, match=message):
        function(**given)
