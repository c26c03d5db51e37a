"""SRU++ over a sequence that arrives step by step or in chunks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from sru_nn.arguments import check_features, check_shape
from sru_nn.cells.sru.stack import SRUStack
from sru_nn.cells.srupp.attention_masks import joined_masks, pieces_of_all
from sru_nn.cells.srupp.memory import Cache
from sru_nn.cells.srupp.state import SRUppState, check_memory, remembered, restarted
from sru_nn.positions import check_reset
from sru_nn.recurrent import check_device, check_step, map_tensors


class StreamingStack(SRUStack):
    """The methods of an SRU++ for sequences that are not yet complete."""

    _fixed = SRUStack._fixed | {"proj_size", "num_heads", "causal", "context"}
    causal: bool
    num_heads: int
    proj_size: int

    def step(
        self, x: Tensor, state: SRUppState | None = None, *, reset: Tensor | None = None
    ) -> tuple[Tensor, SRUppState]:
        """Run one time step; its cost grows with the number of positions that it attends to.

        Args:
            x: `(B, E)`.
            state: The state returned by the previous `step` or `stream`; `SRUppState(c0)` to start from the
                states c0, None at the beginning of a sequence.
            reset: `(B,)` bool, True where a sequence begins: the state is dropped.

        Returns:
            `h`: `(B, N·D)`, the output of the last layer.
            `state`: The state for the next call.

        Raises:
            ValueError: The module is not `causal`, or a shape does not fit.
            TypeError: A dtype does not fit.
        """
        check_step(self, x, (2,))
        given: Any = x
        if isinstance(given, fx.Proxy):
            raise fx.proxy.TraceError(
                "torch.fx cannot record SRUpp.step, whose state is not a tensor; trace with a Tracer whose "
                "is_leaf_module returns True for the module that calls it"
            )
        time = 1 if self.batch_first else 0
        if reset is not None:
            check_reset("SRUpp", reset, "(B,)", tuple(x.shape[:1]), x)
            reset = reset.unsqueeze(time)
        h, state = self.stream(x.unsqueeze(time), state, reset=reset)
        return h.squeeze(time), state

    def stream(
        self,
        x: Tensor,
        state: SRUppState | None = None,
        *,
        mask_pad: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Tensor, SRUppState]:
        """Run the stack over the next positions of a sequence.

        Chunks of any length produce the same outputs as `forward` on the whole sequence. The state holds the
        keys and values of earlier positions, at most `context` of them; call its `detach` to stop gradients
        between two calls. Positions of ended sequences stay in it and are treated like padding.

        Args:
            x: `(T, B, E)`, or `(B, T, E)` with `batch_first`.
            state: As for `step`.
            mask_pad: `(T, B)`, or `(B, T)` with `batch_first`: non-zero where a position is padding.
            reset: `(T, B)`, or `(B, T)` with `batch_first`: bool, True where a sequence begins.

        Returns:
            `h`: `(T, B, N·D)`, or `(B, T, N·D)` with `batch_first`.
            `state`: The state for the next call.

        Raises:
            ValueError: The module is not `causal`, or a shape does not fit.
            TypeError: A dtype does not fit.
        """
        if not self.causal:
            raise ValueError(
                "SRUpp: step and stream need causal=True, because later positions are not known yet"
            )
        axes = "B, T" if self.batch_first else "T, B"
        check_features("SRUpp", "input", x, f"({axes}, E)", (3,), self.input_size)
        shape = tuple(x.shape[:2])
        if mask_pad is not None:
            check_shape("SRUpp", "mask_pad", mask_pad, f"({axes})", shape, like=x)
        if reset is not None:
            check_reset("SRUpp", reset, f"({axes})", shape, x)
        new, mask, marks = x, mask_pad, reset
        if self.batch_first:
            new, mask, marks = map_tensors(lambda tensor: tensor.transpose(0, 1), (x, mask_pad, reset))
        if state is None:
            state = SRUppState(None)  # type: ignore[arg-type]
        elif isinstance(state, SRUppState):
            super()._check_state(state.c, new.shape[1])
            check_memory(
                state, self.num_layers, new.shape[1], self.num_heads, self.proj_size // self.num_heads
            )
            check_device("SRUpp", state, x)
        else:
            raise TypeError(
                f"SRUpp: state must be an SRUppState, got a {type(state).__name__}; SRUppState(c0) "
                "starts from the states c0"
            )
        if marks is not None and new.shape[0]:
            begins = marks[0] if mask is None else marks[0] & ~mask[0].bool()
            state = restarted(state, begins, self._initial())
            if new.shape[0] == 1:
                reset = marks = None
        c0, caches, pad = state
        memory = [Cache(seen) for seen in caches or [None] * self.num_layers]
        earlier = pad if pad is None or self.batch_first else pad.t()
        h, c, _ = self(x, c0, mask_pad, None, memory, earlier, reset=reset)
        kept = tuple([cache.seen for cache in memory])
        if pad is not None or mask is not None or marks is not None:
            whole = joined_masks(None if pad is None else pad.t(), remembered(caches), mask, new)
            pieces = pieces_of_all(remembered(caches), new, mask, marks, None)
            if pieces is not None:
                whole = whole | (pieces != pieces[-1:])
            pad = whole[whole.shape[0] - remembered(kept) :].t()
        return h, SRUppState(c, kept, pad)
