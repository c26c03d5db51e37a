"""Given pre-activations, a recurrence with marks returns what it returns for the pieces, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_map

from sru_nn.cells.mingru.operator import by_sru
from sru_nn.functional import mingru_recurrence, sru_recurrence

from ..conftest import examples
from .one_by_one import cut
from .test_resets import marks
from .test_sequences import SEEDS, gradients

pytestmark = pytest.mark.usefixtures("implementation")


class Given(NamedTuple):
    """A recurrence on given pre-activations, and the shapes of its arguments."""

    function: Callable[..., Any]
    of_time: dict[str, tuple[int, ...]]
    """Shapes of the arguments `(T, B, ...)`, without T and B."""
    weights: dict[str, tuple[int, ...]]
    state: str
    size: int
    """Size of the state of one sequence."""
    begins: str
    """Name of the argument with the state at a mark."""
    bidirectional: bool = False


SRU_WEIGHTS = {"v": (2, 4), "bias": (2, 4)}
FUNCTIONS = {
    "sru": Given(sru_recurrence, {"u": (3, 4), "x": (4,)}, SRU_WEIGHTS, "c0", 4, "c_reset"),
    "sru, both directions": Given(
        partial(sru_recurrence, bidirectional=True, activation="tanh"),
        {"u": (4, 4)},
        SRU_WEIGHTS,
        "c0",
        4,
        "c_reset",
        bidirectional=True,
    ),
    "mingru": Given(mingru_recurrence, {"u": (2, 5)}, {}, "h0", 5, "h_reset"),
}


@pytest.mark.parametrize("learned", [False, True], ids=["from zero", "from a state"])
@pytest.mark.parametrize("name", FUNCTIONS)
@examples
@given(marked=marks(), dtype=st.sampled_from([torch.float32, torch.float64]), seed=SEEDS)
def test_recurrences_are_those_of_the_pieces(name, learned, implementation, marked, dtype, seed):
    """Bit for bit with the kernels, except sums over time, which are computed in another order."""
    torch.manual_seed(seed)
    mask, reset = marked
    length, batch = mask.shape
    function, of_time, weights, state, size, begins, bidirectional = FUNCTIONS[name]

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=dtype, requires_grad=True)

    arrays = {key: draw(length, batch, *shape) for key, shape in of_time.items()}
    shared = {key: draw(*shape) for key, shape in weights.items()}
    c0, initial = draw(batch, size), draw(size)
    options = {begins: initial} if learned else {}
    whole = function(**arrays, **shared, **{state: c0}, **options, mask_pad=mask, reset=reset)

    outputs, states = [], []
    # A sequence of one would be computed by a loop, which rounds differently.
    runs_kernels = (name, implementation) == ("mingru", "kernels")
    alone = partial(by_sru, chosen="kernels") if runs_kernels else function
    anew = initial if learned else torch.zeros(size, dtype=dtype)
    half = size // 2 if bidirectional else size
    for b in range(batch):
        results, pieces = [], cut(mask[:, b].tolist(), reset[:, b].tolist())
        for piece in pieces:
            first = anew if piece.anew else c0[b]
            second = c0[b] if piece is pieces[-1] else anew
            before = torch.cat([first[:half], second[half:]])[None]
            part = {key: array[piece.begin : piece.end, b : b + 1] for key, array in arrays.items()}
            pad = mask[piece.begin : piece.end, b : b + 1]
            results.append(alone(**part, **shared, **{state: before}, mask_pad=pad))
        outputs.append(torch.cat([h for h, _ in results]))
        states.append(torch.cat([results[-1][1][:, :half], results[0][1][:, half:]], dim=1))
    expected = torch.cat(outputs, dim=1), torch.cat(states)

    exact = {"rtol": 0, "atol": 0} if implementation == "kernels" else {}
    torch.testing.assert_close(whole, expected, **exact)
    upstream = tree_map(torch.randn_like, whole)
    of = [*arrays.values(), c0, *shared.values(), *([initial] if learned else [])]
    actual, wanted = (gradients(results, upstream, of) for results in (whole, expected))
    torch.testing.assert_close(actual[: len(arrays) + 1], wanted[: len(arrays) + 1], **exact)
    torch.testing.assert_close(actual, wanted)
