"""What `compat.LSTM` and `compat.GRU` share: everything but the states."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from sru_nn.cells.sru.layer import SRUCell
from sru_nn.decoding import can_step, step
from sru_nn.forms import check_sequences, one_by_one, side_by_side, unpack
from sru_nn.gemm import project

States = tuple[Tensor, ...]


class RecurrentBase(nn.Module):
    """A stack of `SRUCell`s with the arguments, the attributes and the input forms of PyTorch's modules.

    Attributes:
        rnn_lst: The L layers. Without `proj_size` the state dict is that of an `SRU` of the same sizes.
        projections: For each layer the N linear maps of `proj_size`; empty without.
    """

    mode: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        device: torch.device | str | int | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"{self.mode}: num_layers must be at least 1, got {num_layers}")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"{self.mode}: proj_size must be 0 (none) or positive and below hidden_size = "
                f"{hidden_size}, got {proj_size}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(
                f"{self.mode}: dropout must be a probability in [0, 1), got {dropout}; with 1, which "
                "PyTorch allows, no layer would hear the one before"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"{self.mode}: dropout = {dropout} acts between layers and num_layers is 1, so it does "
                "nothing; leave it at 0 or add layers",
                stacklevel=3,
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size

        self._directions = directions = 2 if bidirectional else 1
        self._output_size = proj_size or hidden_size  # of one direction
        with contextlib.nullcontext() if device is None else torch.device(device):
            self.rnn_lst = nn.ModuleList(
                SRUCell(
                    directions * self._output_size if layer else input_size,
                    hidden_size,
                    dropout=dropout if layer + 1 < num_layers else 0.0,
                    bidirectional=bidirectional,
                    rescale=False,
                )
                for layer in range(num_layers)
            )
            self.projections = nn.ModuleList(
                nn.ModuleList(nn.Linear(hidden_size, proj_size, bias=False) for _ in range(directions))
                for _ in range(num_layers if proj_size else 0)
            )
        if not bias:
            for cell in self._cells():
                cell.bias.requires_grad_(False)
        self._reset_projections()
        if dtype is not None:
            self.to(dtype)

    def _cells(self) -> list[SRUCell]:
        return list(self.rnn_lst)  # type: ignore[arg-type]

    def reset_parameters(self) -> None:
        """Draw all weights anew; the biases start at zero, and stay there without `bias`."""
        for cell in self._cells():
            cell.reset_parameters()
        self._reset_projections()

    @torch.no_grad()
    def _reset_projections(self) -> None:
        bound = math.sqrt(3 / self.hidden_size)  # the variance of the output is that of the input
        for weight in self.projections.parameters():
            weight.uniform_(-bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: this is for code that calls it on PyTorch's modules, whose weights cuDNN wants flat."""

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer, both directions together, in the order of `named_parameters`."""
        layers: list[list[nn.Parameter]] = [list(cell.parameters()) for cell in self.rnn_lst]
        for weights, maps in zip(layers, self.projections, strict=False):
            weights += maps.parameters()
        return layers

    def _state_widths(self) -> dict[str, int]:
        """Return the name and the width of each state in `hx`, in order."""
        raise NotImplementedError

    def _run_time_major(self, x: Tensor, hx: States | None, mask_pad: Tensor | None) -> tuple[Tensor, States]:
        """Run time-major input with states `(L·N, B, width)`; a mask is boolean."""
        raise NotImplementedError

    def _run(
        self, input: Tensor | PackedSequence, hx: States | None, mask_pad: Tensor | None
    ) -> tuple[Tensor | PackedSequence, States]:
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx, mask_pad)
        check_sequences(self.mode, input, mask_pad, self.input_size, batch_first=self.batch_first)
        mask_pad = None if mask_pad is None else mask_pad != 0
        single = input.dim() == 2
        time = 0 if single or not self.batch_first else 1
        batch = 1 if single else input.shape[1 - time]
        hx = self._checked_states(hx, () if single else (batch,))
        if single:
            input = input.unsqueeze(1)
            hx = None if hx is None else tuple(state.unsqueeze(1) for state in hx)
            mask_pad = None if mask_pad is None else mask_pad.unsqueeze(1)
        elif time == 1:
            input = input.transpose(0, 1)
            mask_pad = None if mask_pad is None else mask_pad.t()
        output, states = self._run_time_major(input, hx, mask_pad)
        states = tuple(state.to(input.dtype) for state in states)
        if single:
            return output.squeeze(1), tuple(state.squeeze(1) for state in states)
        return output.transpose(0, 1) if time == 1 else output, states

    def _run_packed(
        self, packed: PackedSequence, hx: States | None, mask_pad: Tensor | None
    ) -> tuple[PackedSequence, States]:
        data, batch_sizes, order, back = packed
        in_order = PackedSequence(data, batch_sizes)
        padded, lengths, mask = unpack(self.mode, in_order, mask_pad, self.input_size)
        hx = self._checked_states(hx, (padded.shape[1],))
        if hx is not None and order is not None:
            hx = tuple(state.index_select(1, order) for state in hx)
        output, states = self._run_time_major(padded, hx, mask)
        states = tuple(state.to(data.dtype) for state in states)
        if back is not None:
            states = tuple(state.index_select(1, back) for state in states)
        return PackedSequence(pack_padded_sequence(output, lengths).data, batch_sizes, order, back), states

    def _checked_states(self, hx: States | None, batch: tuple[int, ...]) -> States | None:
        if hx is None:
            return None
        rows = self.num_layers * self._directions
        for (name, width), state in zip(self._state_widths().items(), hx, strict=True):
            shape = (rows, *batch, width)
            if state.shape != shape:
                letters = "(L·N, B, " if batch else "(L·N, "
                letters += "H_out)" if width != self.hidden_size else "H)"
                raise ValueError(
                    f"{self.mode}: {name} must have shape {letters} = {shape}, got {tuple(state.shape)}"
                )
        return hx

    def _run_layers(
        self, x: Tensor, c0: Tensor | None, mask_pad: Tensor | None, *, with_ends: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Run the layers on `(T, B, E)` from the states `(L·N, B, D)`.

        Returns:
            `output`: `(T, B, N·H_out)`.
            `ends`: `(L·N, B, H_out)`, the last real output of each layer and direction, if asked for.
            `c`: `(L·N, B, D)`, the states after the last step.
        """
        cells = self._cells()
        if c0 is not None and self.bidirectional:
            c0 = side_by_side(c0, 2)
        if mask_pad is not None:
            # Not even through a projection may a NaN in the padding reach a gradient.
            x = x.masked_fill(mask_pad.unsqueeze(-1), 0.0)
        short = len(x) == 1 and mask_pad is None and not self.proj_size and can_step(cells, x, c0)
        states, ends = [], []
        for layer, cell in enumerate(cells):
            state = None if c0 is None else c0[layer : layer + 1]
            if short:
                x, state = step([cell], x, state)
            else:
                x, last = cell(x, None if state is None else state[0], mask_pad, padding_is_finite=True)
                state = last.unsqueeze(0)
            states.append(state)
            if self.proj_size:
                maps: nn.ModuleList = self.projections[layer]  # type: ignore[assignment]
                parts = zip(maps, x.chunk(len(maps), dim=-1), strict=True)
                x = torch.cat([project(linear, part) for linear, part in parts], dim=-1)
            if with_ends:
                ends.append(_last_outputs(x, mask_pad, self._output_size))
        c = torch.cat(states)
        if self.bidirectional:
            c = one_by_one(c, 2)
        return x, torch.cat(ends) if with_ends else None, c

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if f"{prefix}weight_hh_l0" in state_dict:
            error_msgs.append(
                f"{prefix}weight_hh_l0: these are the weights of a module of torch.nn, and an SRU, which "
                f"multiplies its state by no matrix, cannot take them; train sru_nn.compat.{self.mode} anew"
            )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def extra_repr(self) -> str:
        """Show the sizes and every option that is not at its default."""
        parts = [f"{self.input_size}, {self.hidden_size}"]
        usual = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        parts += [f"{name}={getattr(self, name)}" for name in usual if getattr(self, name) != usual[name]]
        return ", ".join(parts)


def _last_outputs(output: Tensor, mask_pad: Tensor | None, width: int) -> Tensor:
    """Return `(N, B, width)`: each direction's last real output, zero where there is none."""
    length, batch, columns = output.shape
    if length == 0:
        return output.new_zeros(columns // width, batch, width)
    if mask_pad is None:
        ends = [output[-1, :, :width], output[0, :, width:]]
    else:
        steps = torch.arange(length, device=output.device)[:, None]
        sequences = torch.arange(batch, device=output.device)
        # Where there is no real step, any position will do: all are padding, and the output is zero.
        last = torch.where(mask_pad, 0, steps).amax(0)
        first = torch.where(mask_pad, length - 1, steps).amin(0)
        ends = [output[last, sequences, :width], output[first, sequences, width:]]
    return torch.stack(ends[: columns // width])
