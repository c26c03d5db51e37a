"""The drop-in replacements for `nn.LSTMCell` and `nn.GRUCell`."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, fx, nn

from sru_nn.arguments import (
    check_features,
    check_flags,
    check_floating,
    check_like_parameters,
    check_shape,
    check_sizes,
)
from sru_nn.cells.sru.layer import SRUCell
from sru_nn.cells.sru.run import run_layers
from sru_nn.compat.states import (
    OwnWeights,
    StartsFromC,
    check_pair,
    one_state,
    refuse_foreign,
    returned_state,
    state_for,
)
from sru_nn.positions import Positions
from sru_nn.watched import as_leaf, refuse_script


class CellDropIn(OwnWeights):
    """An `SRUCell` that runs one step per call, with the arguments and attributes of PyTorch's cells.

    List it before `nn.LSTMCell` or `nn.GRUCell` among the bases of a class, to override the methods that use
    their weights.
    """

    __prepare_scriptable__ = refuse_script
    _first_layer = "layer"
    _fixed = frozenset({"hidden_size", "bias"})

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        self.input_size, self.hidden_size = check_sizes(who, input_size=input_size, hidden_size=hidden_size)
        check_flags(who, bias=bias)
        self.bias = bool(bias)
        with contextlib.nullcontext() if device is None else torch.device(device):
            self.layer = SRUCell(
                self.input_size, self.hidden_size, rescale=False, amp_recurrence_fp16=True, bias=self.bias
            )
        if dtype is not None:
            self.to(dtype)
        if type(self).reset_parameters is not CellDropIn.reset_parameters:
            self.reset_parameters()  # PyTorch's constructors call it too

    def reset_parameters(self) -> None:
        """Reinitialise all weights, and set the biases to zero."""
        self.layer.reset_parameters()

    def _check(self, input: Any, **states: Any) -> None:
        """Check the input and the states of one step."""
        who = type(self).__name__
        check_features(who, "input", input, "(B, E) or (E,)", (1, 2), self.input_size)
        check_like_parameters(who, input, self.layer.transform)
        letters = "(B, D)" if input.dim() == 2 else "(D,)"
        for name, state in states.items():
            check_shape(who, name, state, letters, (*input.shape[:-1], self.hidden_size), like=input)
            check_floating(who, name, state)

    def _run(self, input: Tensor, name: str, c0: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run one step from the state c0, which errors refer to as `name`."""
        single = input.dim() == 1
        x = input.unsqueeze(0).unsqueeze(0) if single else input.unsqueeze(0)
        c0 = state_for(type(self).__name__, name, c0, input)
        before = None if c0 is None else c0.view(1, -1, self.hidden_size)
        h, c = run_layers([self.layer], x, before, Positions())
        h, c = h[0], returned_state(c[0], input)
        return (h[0], c[0]) if single else (h, c)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        refuse_foreign(state_dict, f"{prefix}weight_hh", type(self).__name__, args[-1])
        super()._load_from_state_dict(state_dict, prefix, *args)


class LSTMCell(StartsFromC, CellDropIn, nn.LSTMCell):
    """An SRU layer with the interface of `nn.LSTMCell`, which it subclasses.

        f = σ(u_f + v_f ⊙ c_{t-1} + b_f)        r = σ(u_r + v_r ⊙ c_{t-1} + b_r)
        c_t = f ⊙ c_{t-1} + (1 − f) ⊙ u_c       h_t = r ⊙ c_t + (1 − r) ⊙ x_t

    with u = W x_t; x_t is projected if E ≠ D. A loop over the cell computes the same as a one-layer
    `compat.LSTM`. As in `compat.LSTM`, h0 has no effect on any step, and a non-zero h0 with an all-zero c0
    raises an error.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the size of the state.
        bias: Whether the gates have learned biases; if False, the biases are buffers of zeros.
        device: The device of the parameters.
        dtype: The dtype of the parameters.

    Attributes:
        layer: The `SRUCell`; there is no `weight_ih`.

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is not positive.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", EMNLP 2018.

    Example:
        >>> import torch
        >>> cell = LSTMCell(64, 128)
        >>> h, c = cell(torch.randn(8, 64))
        >>> h, c = cell(torch.randn(8, 64), (h, c))
        >>> h.shape, c.shape
        (torch.Size([8, 128]), torch.Size([8, 128]))
    """

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            input: `(B, E)`, or `(E,)` for a single sequence.
            hx: The pair (h0, c0), each `(B, D)`, or `(D,)` for a single sequence; zeros if None.

        Returns:
            `h`: `(B, D)`, or `(D,)`, the output.
            `c`: The state, in the shape of `h`. Both have the dtype of the input; under autocast `h` has the
            dtype of autocast, and `c` is float32.

        Raises:
            ValueError: A shape does not fit, `hx` is not a pair, or h0 would be lost.
            TypeError: A dtype does not fit.
        """
        given: Any = input
        if isinstance(given, fx.Proxy):
            return as_leaf(self, given, hx)  # type: ignore[no-any-return]
        if hx is None:
            self._check(input)
            return self._run(input, "c0", None)
        check_pair("LSTMCell", hx)
        h0, c0 = hx
        self._check(input, h0=h0, c0=c0)
        self._check_h0(h0, c0)
        return self._run(input, "c0", c0)


class GRUCell(CellDropIn, nn.GRUCell):
    """An SRU step with the interface of `nn.GRUCell`, which it subclasses.

        f = σ(u_f + v_f ⊙ h_{t-1} + b_f)        r = σ(u_r + v_r ⊙ h_{t-1} + b_r)
        c = f ⊙ h_{t-1} + (1 − f) ⊙ u_c         h_t = r ⊙ c + (1 − r) ⊙ x_t

    with u = W x_t; x_t is projected if E ≠ D. **The output is the state**, as code written for `nn.GRUCell`
    expects: it uses the same tensor as features and as the next state. A full SRU carries c instead, so a
    loop over this cell is a different network from `compat.GRU`, whose `step` carries c.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the size of the state.
        bias: As for `LSTMCell`.
        device: The device of the parameters.
        dtype: The dtype of the parameters.

    Attributes:
        layer: The `SRUCell`; there is no `weight_ih`.

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is not positive.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", EMNLP 2018.

    Example:
        >>> import torch
        >>> cell = GRUCell(64, 128)
        >>> h = cell(torch.randn(8, 64))
        >>> cell(torch.randn(8, 64), h).shape
        torch.Size([8, 128])
    """

    def forward(self, input: Tensor, hx: Tensor | tuple[Tensor] | None = None) -> Tensor:
        """Take one step.

        Args:
            input: `(B, E)`, or `(E,)` for a single sequence.
            hx: `(B, D)`, or `(D,)` for a single sequence: the result of the previous step; zeros if None. A
                tuple of one tensor is also accepted.

        Returns:
            `h`: `(B, D)`, or `(D,)`, in the dtype of the input, or of autocast if that is enabled.

        Raises:
            ValueError: A shape does not fit, or `hx` is not one tensor.
            TypeError: A dtype does not fit.
        """
        given: Any = input
        if isinstance(given, fx.Proxy):
            return as_leaf(self, given, hx)  # type: ignore[no-any-return]
        h0 = one_state("GRUCell", hx)
        self._check(input, **({} if h0 is None else {"hx": h0}))
        return self._run(input, "hx", h0)[0]
