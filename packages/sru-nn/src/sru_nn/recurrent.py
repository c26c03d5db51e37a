"""The base class of every recurrent module: inputs of any form outside, time-major batches inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import PackedSequence

from sru_nn.arguments import check_features, check_floating, check_like_parameters, check_shape
from sru_nn.operators import is_one
from sru_nn.pieces import packed_layout, reorder
from sru_nn.positions import (
    Positions,
    check_alone,
    check_cu_seqlens,
    check_ends,
    check_packed,
    check_reset,
    restart,
)
from sru_nn.watched import as_leaf, is_altered, refuse_script

Sequences = TypeVar("Sequences", Tensor, PackedSequence)


class Recurrent(nn.Module):
    """A module that maps a sequence and a state to the outputs and the state after the last step.

    A subclass implements `_run`, which computes a time-major batch, and `_check_state`, which rejects states
    that do not fit; its `forward` calls `_forward`. Inputs of every form then work: `(T, B, E)`, `(B, T, E)`
    with `batch_first`, `(T, E)` for a single sequence, `(total, E)` with `cu_seqlens`, or a `PackedSequence`.
    It also provides `step`.

    The class has no `__init__` and registers nothing, so it combines with any other module class.
    """

    input_size: int
    batch_first: bool = False
    bidirectional: bool = False
    __prepare_scriptable__ = refuse_script

    def _run(self, x: Tensor, state: Any, where: Positions) -> tuple[Tensor, Any]:
        """Run a time-major batch.

        Args:
            x: `(T, B, E)`, with arbitrary values at padding.
            state: None, a tensor or nested tuples of tensors, each with the batch as its second axis, or the
                sequences of `where.cu_seqlens`; `_check_state` has accepted it.
            where: Which positions are real, and where sequences begin.

        Returns:
            `h`: `(T, B, ...)`.
            `state`: The state after the last step, with the batch as the second axis.
        """
        raise NotImplementedError

    def _check_state(self, state: Any, *batch: int) -> None:
        """Raise unless a state fits a batch of this size or, without one, a single sequence."""
        raise NotImplementedError

    def _initial(self) -> Any:
        """Return the learned initial state of sequences, without the batch axis; None for zeros."""
        return None

    def _restart(self, state: Any, reset: Tensor) -> Any:
        """Return the state, reset to that of a new sequence where `reset` `(B,)` is True."""
        return restart(state, reset, self._initial())

    def _first(self) -> nn.Module | None:
        """Return the module that sets the dtype and device of inputs; None if a layer checks them."""
        return None

    def _check_state_tensor(
        self, name: str, state: Any, batch: tuple[int, ...], letters: str, *shapes: tuple[int, ...]
    ) -> None:
        """Raise unless a tensor of the state has one of these shapes, given without the batch axis."""
        rows, *rest = shapes[0]
        usual = isinstance(state, Tensor) and state.layout is torch.strided and state.is_floating_point()
        if not usual or state.is_nested or state.shape != (rows, *batch, *rest):
            letters = letters if batch else letters.replace(" B,", "")
            whole = [(rows, *batch, *rest) for rows, *rest in shapes]
            check_shape(type(self).__name__, name, state, letters, *whole)
            check_floating(type(self).__name__, name, state)

    def _check_input(self, x: Any, mask_pad: Any, reset: Any) -> None:
        who = type(self).__name__
        letters = "(B, T, E) or (T, E)" if self.batch_first else "(T, B, E) or (T, E)"
        check_features(who, "input", x, letters, (2, 3), self.input_size)
        check_like_parameters(who, x, self._first())
        letters = "(T,)" if x.dim() == 2 else "(B, T)" if self.batch_first else "(T, B)"
        if mask_pad is not None:
            check_shape(who, "mask_pad", mask_pad, letters, tuple(x.shape[:-1]), like=x)
        if reset is not None:
            check_reset(who, reset, letters, tuple(x.shape[:-1]), x)

    def _forward(
        self,
        x: Any,
        state: Any,
        mask_pad: Any = None,
        *,
        reset: Any = None,
        cu_seqlens: Any = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """Run an input of any form; `_run` also receives the options."""
        if isinstance(x, fx.Proxy):
            return as_leaf(  # type: ignore[no-any-return]
                self, x, state, mask_pad=mask_pad, reset=reset, cu_seqlens=cu_seqlens
            )
        if isinstance(x, PackedSequence):
            check_packed(type(self).__name__, mask_pad=mask_pad, reset=reset, cu_seqlens=cu_seqlens)
            return self._forward_packed(x, state, **options)
        if cu_seqlens is not None:
            check_alone(type(self).__name__, mask_pad, reset)
            return self._forward_ragged(x, state, cu_seqlens, **options)
        self._check_input(x, mask_pad, reset)
        single = x.dim() == 2
        turned = self.batch_first and not single
        self._check_state(state, *(() if single else (x.shape[0 if turned else 1],)))
        check_device(type(self).__name__, state, x)
        if turned:
            x = swap(x)
            mask_pad, reset = map_tensors(Tensor.t, (mask_pad, reset))
        if single:
            x, state, mask_pad, reset = map_tensors(
                lambda tensor: tensor.unsqueeze(1), (x, state, mask_pad, reset)
            )
        where = Positions(None if mask_pad is None else mask_pad.bool(), reset)
        if reset is not None:
            state, where = self._begin(x, state, where)
        h, state = self._run(x, state, where, **options)
        if single:
            return h.squeeze(1), map_tensors(lambda tensor: tensor.squeeze(1), state)
        return swap(h) if turned else h, state

    def _begin(self, x: Tensor, state: Any, where: Positions) -> tuple[Any, Positions]:
        """Apply the resets of a single step to the state; not if bidirectional: only the first restarts."""
        if where.reset is None or self.bidirectional or not is_one(x.shape[0]):
            return state, where
        reset = where.reset if where.mask_pad is None else where.reset & ~where.mask_pad
        return self._restart(state, reset[0]), Positions(where.mask_pad)

    def _forward_ragged(
        self, x: Tensor, state: Any, cu_seqlens: Tensor, **options: Any
    ) -> tuple[Tensor, Any]:
        """Run concatenated sequences."""
        who = type(self).__name__
        whole = isinstance(x, Tensor) and x.dim() == 3 and x.shape[0] == 1
        name, letters = "with cu_seqlens input", "(total, E) or (1, total, E)"
        check_features(who, name, x, letters, (3,) if whole else (2,), self.input_size)
        check_like_parameters(who, x, self._first())
        x = x.transpose(0, 1) if whole else x.unsqueeze(1)
        check_cu_seqlens(who, cu_seqlens, x)
        check_ends(who, cu_seqlens, x.shape[0])
        try:
            self._check_state(state, cu_seqlens.shape[0] - 1)
        except ValueError as error:
            raise ValueError(str(error).replace(" B,", " S,")) from None
        check_device(who, state, x)
        h, state = self._run(x, state, Positions(cu_seqlens=cu_seqlens.to(torch.int64)), **options)
        return h.transpose(0, 1) if whole else h.squeeze(1), state

    def _forward_packed(
        self, packed: PackedSequence, state: Any, **options: Any
    ) -> tuple[PackedSequence, Any]:
        """Run packed sequences, concatenated in their order before sorting."""
        who = type(self).__name__
        data, batch_sizes, order, back = packed
        check_features(who, "a PackedSequence's data", data, "(sum of lengths, E)", (2,), self.input_size)
        check_like_parameters(who, data, self._first())
        cu_seqlens, to, fro = packed_layout(batch_sizes, data.shape[0], data.device, order)
        sequences = cu_seqlens.shape[0] - 1
        if order is None and state is not None and torch.compiler.is_compiling():
            sequences = _counted(state, sequences)
        self._check_state(state, sequences)
        check_device(who, state, data)
        x = reorder(data, to, fro).unsqueeze(1)
        h, state = self._run_packed(x, state, cu_seqlens, batch_sizes.shape[0], **options)
        return PackedSequence(reorder(h.squeeze(1), fro, to), batch_sizes, order, back), state

    def _run_packed(
        self, x: Tensor, state: Any, cu_seqlens: Tensor, longest: int, **options: Any
    ) -> tuple[Tensor, Any]:
        """Run concatenated sequences of at most `longest` steps, `(total, 1, E)`."""
        return self._run(x, state, Positions(cu_seqlens=cu_seqlens), **options)

    def step(self, x: Tensor, state: Any = None, *, reset: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run one time step, like `forward` with a sequence of one step.

        Args:
            x: `(B, E)`, or `(E,)` for a single sequence.
            state: The state before the step, in the layout of `forward`; the initial state if None.
            reset: `(B,)` bool, or `()` for a single sequence: True where a sequence begins at this step; its
                state is then ignored.

        Returns:
            `h`: `(B, ...)`, or `(...)` for a single sequence: the output of the last layer.
            `state`: The state after the step, in the layout of `forward`.

        Raises:
            ValueError: A shape does not fit, or the module is bidirectional.
            TypeError: A dtype does not fit.
        """
        check_step(self, x, (1, 2))
        given: Any = x
        if reset is not None and not isinstance(given, fx.Proxy):
            letters = "()" if x.dim() == 1 else "(B,)"
            check_reset(type(self).__name__, reset, letters, tuple(x.shape[:-1]), x)
        # Hooks, a replaced forward and a trace must see the step.
        if isinstance(given, fx.Proxy) or x.dim() == 1 or is_altered(self):
            time = -2 if self.batch_first else 0
            beside = {} if reset is None else {"reset": reset.unsqueeze(-1 if self.batch_first else 0)}
            result = self(x.unsqueeze(time), state, **beside)
            return result[0].squeeze(time), result[1]
        check_like_parameters(type(self).__name__, x, self._first())
        if state is not None:
            self._check_state(state, x.shape[0])
            check_device(type(self).__name__, state, x)
            if reset is not None:
                state = self._restart(state, reset)
        h, state = self._run(x.unsqueeze(0), state, Positions())
        return h.squeeze(0), state


def check_step(module: Any, x: Any, dims: tuple[int, ...]) -> None:
    """Raise unless the module can run step by step and x has an allowed number of dimensions."""
    if module.bidirectional:
        raise ValueError(
            f"{type(module).__name__}.step needs one direction, because a second one starts at the last "
            "step; call forward with the whole sequence"
        )
    if not isinstance(x, fx.Proxy):
        who, letters = f"{type(module).__name__}.step", "(B, E) or (E,)" if 1 in dims else "(B, E)"
        check_features(who, "x", x, letters, dims, module.input_size, "; pass a whole sequence to forward")


def _counted(state: Any, sequences: int) -> int:
    """Return the number of sequences of a state, for a graph in which it is known only at run time."""
    if isinstance(state, (tuple, list)):
        counts = [_counted(part, sequences) for part in state if part is not None]
        return counts[0] if counts else sequences
    torch._check(state.shape[1] == sequences)  # type: ignore[no-untyped-call]
    return state.shape[1]  # type: ignore[no-any-return]


def check_device(who: str, state: Any, x: Tensor) -> None:
    """Raise unless all tensors of a state are on the device of the input."""
    if isinstance(state, (tuple, list)):
        for part in state:
            check_device(who, part, x)
    elif isinstance(state, Tensor) and state.device != x.device:
        raise ValueError(
            f"{who}: the state must be on the device of the input, {x.device}, got {state.device}; "
            "move one of them with .to()"
        )


def without_padding(x: Tensor, mask_pad: Tensor | None) -> Tensor:
    """Zero the padding, so that a NaN in it reaches neither a result nor a gradient."""
    return x if mask_pad is None else x.masked_fill(mask_pad.unsqueeze(-1), 0.0)


def swap(x: Tensor) -> Tensor:
    """Swap time and batch; as a copy if sizes are dynamic, because a product would fix a size of one."""
    x = x.transpose(0, 1)
    is_for_any = not all(type(size) is int for size in x.shape[:2])
    return x.clone(memory_format=torch.contiguous_format) if is_for_any else x


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply a function to every tensor in nested tuples and lists; leave other values as they are."""
    if isinstance(value, (tuple, list)):
        return type(value)([map_tensors(function, item) for item in value])
    return function(value) if isinstance(value, Tensor) else value
