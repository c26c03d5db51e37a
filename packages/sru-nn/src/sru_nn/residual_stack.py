"""What the residual stacks have in common: the blocks, and the forms of their input and state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from sru_nn.forms import check_sequences, run_step, run_time_major, unpack
from sru_nn.gemm import project
from sru_nn.module_checks import check_like_parameters


class ResidualBlock(nn.Module):
    """x_t + W_o y_t with y the recurrence of u_t = W norm(x_t); a subclass says which recurrence.

    Attributes:
        norm: The layer norm.
        transform: W, an `nn.Linear`.
        output: W_o, an `nn.Linear`.
        dropout: That of W_o y_t.
    """

    def __init__(self, hidden_size: int, pre_activations: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.transform = nn.Linear(hidden_size, pre_activations, bias=False)
        self.output = nn.Linear(outputs, hidden_size, bias=False)
        self.dropout = nn.Dropout(dropout)

    @abstractmethod
    def state_shape(self, *batch: int) -> tuple[int, ...]:
        """Return the shape of the state of a batch."""

    @abstractmethod
    def recur(self, u: Tensor, state: Tensor | None, mask_pad: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return y `(T, B, ...)` and the state after the last step."""

    def reset_parameters(self) -> None:
        """Draw the weights anew, each as PyTorch does it."""
        for module in (self.norm, self.transform, self.output):
            module.reset_parameters()

    def forward(
        self, x: Tensor, state: Tensor | None = None, mask_pad: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the block.

        Args:
            x: `(T, B, D)`.
            state: The state before the first step; zeros if None.
            mask_pad: `(T, B)` bool, True where a position is padding.

        Returns:
            `x`: `(T, B, D)`.
            `state`: The state after the last step.
        """
        y, state = self.recur(project(self.transform, self.norm(x)), state, mask_pad)
        return x + self.dropout(project(self.output, y)), state


class ResidualStack(nn.Module):
    """Residual blocks, one after the other, with a linear map before them and a norm after them."""

    state_letters = "(L, B, ...)"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        batch_first: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        for argument, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}: {argument} must be at least 1, got {size}")
        if not 0 <= dropout < 1:
            raise ValueError(f"{name}: dropout must be a probability in [0, 1), got {dropout}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.output_size = hidden_size
        self.num_layers = num_layers
        self.dropout = float(dropout)
        self.batch_first = bool(batch_first)
        self.input_to_hidden: nn.Linear | None = None
        if input_size != hidden_size:
            self.input_to_hidden = nn.Linear(input_size, hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size)
        self.layers = nn.ModuleList()

    def _add(self, blocks: Iterable[ResidualBlock]) -> None:
        self.layers.extend(blocks)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        if self.input_to_hidden is not None:
            self.input_to_hidden.reset_parameters()
        self.norm.reset_parameters()
        for block in self.layers:
            block.reset_parameters()  # type: ignore[operator]

    def _forward(
        self, x: Tensor | PackedSequence, state: Tensor | None, mask_pad: Tensor | None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        if isinstance(x, PackedSequence):
            return self._forward_packed(x, state, mask_pad)
        check_sequences(type(self).__name__, x, mask_pad, self.input_size, batch_first=self.batch_first)
        batch = () if x.dim() == 2 else (x.shape[0 if self.batch_first else 1],)
        self._check_state(state, *batch)
        mask_pad = None if mask_pad is None else mask_pad.bool()
        return run_time_major(self._forward_time_major, x, state, mask_pad, batch_first=self.batch_first)

    def _step(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        return run_step(self, x, state, self.input_size, batch_first=self.batch_first)

    def _check_state(self, state: Tensor | None, *batch: int) -> None:
        block: ResidualBlock = self.layers[0]  # type: ignore[assignment]
        shape = (self.num_layers, *block.state_shape(*batch))
        if state is not None and state.shape != shape:
            letters = self.state_letters if batch else self.state_letters.replace(" B,", "")
            raise ValueError(
                f"{type(self).__name__}: state must have shape {letters} = {shape}, got {tuple(state.shape)}"
            )

    def _forward_packed(
        self, packed: PackedSequence, state: Tensor | None, mask_pad: Tensor | None
    ) -> tuple[PackedSequence, Tensor]:
        in_order = PackedSequence(packed.data, packed.batch_sizes)
        padded, lengths, mask = unpack(type(self).__name__, in_order, mask_pad, self.input_size)
        self._check_state(state, padded.shape[1])
        if state is not None and packed.sorted_indices is not None:
            state = state.index_select(1, packed.sorted_indices)
        h, state = self._forward_time_major(padded, state, mask)
        data = pack_padded_sequence(h, lengths).data
        if packed.unsorted_indices is not None:
            state = state.index_select(1, packed.unsorted_indices)
        return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices), state

    def _forward_time_major(
        self, x: Tensor, state: Tensor | None, mask_pad: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        first = self.norm if self.input_to_hidden is None else self.input_to_hidden
        check_like_parameters(type(self).__name__, x, first)
        if mask_pad is not None:
            # Not even through a projection may a NaN in the padding reach a gradient.
            x = x.masked_fill(mask_pad.unsqueeze(-1), 0.0)
        if self.input_to_hidden is not None:
            x = project(self.input_to_hidden, x)
        states = [None] * self.num_layers if state is None else state.unbind(0)
        last = []
        for block, before in zip(self.layers, states, strict=True):
            x, after = block(x, before, mask_pad)
            last.append(after)
        h = self.norm(x)
        if mask_pad is not None:
            h = h.masked_fill(mask_pad.unsqueeze(-1), 0.0)
        return h, torch.stack(last)

    def extra_repr(self) -> str:
        """Show what the layers' own lines do not."""
        parts = [f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"]
        return ", ".join(parts + (["batch_first=True"] if self.batch_first else []))
