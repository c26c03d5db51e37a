"""The common base of `compat.LSTM` and `compat.GRU`."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.arguments import check_flags, check_probabilities, check_sizes
from sru_nn.cells.sru.layer import SRUCell
from sru_nn.cells.sru.run import run_layers
from sru_nn.cells.sru.stack import SRUStack
from sru_nn.compat.states import OwnWeights, refuse_foreign, returned_state, state_for
from sru_nn.gemm import project
from sru_nn.pieces import last_states
from sru_nn.positions import Positions


class DropIn(OwnWeights, SRUStack):
    """A stack of `SRUCell`s with the arguments, attributes and input forms of PyTorch's modules.

    List it before `nn.LSTM` or `nn.GRU` among the bases of a class, to override the methods that use their
    weights.

    Attributes:
        rnn_lst: The L layers. Without `proj_size` the state dict is that of an `SRU` of the same sizes.
        projections: For each layer, its N linear maps to `proj_size` features; empty without `proj_size`.
    """

    _first_layer = "rnn_lst.0"
    mode: str
    projections: nn.ModuleList
    _fixed = SRUStack._fixed | {"bias", "mode", "proj_size"}
    # PyTorch's versions maintain a flat list of weights that do not exist here.
    extra_repr = nn.RNNBase.extra_repr
    __setstate__ = nn.Module.__setstate__
    _apply = nn.Module._apply
    _replicate_for_data_parallel = nn.Module._replicate_for_data_parallel

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        learn_initial_state: bool = False,
    ) -> None:
        OwnWeights.__init__(self)
        who = self.mode = type(self).mode
        input_size, hidden_size, num_layers = check_sizes(
            who, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers
        )
        (proj_size,) = check_sizes(who, at_least=0, proj_size=proj_size)
        check_flags(who, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
        self._set_sizes(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            batch_first=batch_first,
            project_input=False,
        )
        self.nn_rnn_compatible_return = True
        check_probabilities(who, dropout=dropout)
        if proj_size >= hidden_size:
            raise ValueError(
                f"{who}: proj_size must be less than hidden_size = {hidden_size}, or 0 for no projection, "
                f"got {proj_size}"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"{who}: dropout = {dropout} has no effect with num_layers = 1, because it acts between "
                "layers; leave it at 0 or add layers",
                stacklevel=2 if self.mode == "LSTM" else 3,  # GRU defines its own __init__
            )
        self.bias = bias
        self.proj_size = proj_size
        self._row_size = proj_size or hidden_size  # the output of one direction
        with contextlib.nullcontext() if device is None else torch.device(device):
            self.rnn_lst = nn.ModuleList(
                SRUCell(
                    self.num_directions * self._row_size if layer else input_size,
                    hidden_size,
                    dropout=dropout if layer + 1 < num_layers else 0.0,
                    bidirectional=bidirectional,
                    rescale=False,
                    amp_recurrence_fp16=True,
                    bias=bias,
                    learn_initial_state=learn_initial_state,
                )
                for layer in range(num_layers)
            )
            self.projections = nn.ModuleList(
                nn.ModuleList(
                    nn.Linear(hidden_size, proj_size, bias=False) for _ in range(self.num_directions)
                )
                for _ in range(num_layers if proj_size else 0)
            )
        self.dropout = dropout
        self._reset_projections()
        if dtype is not None:
            self.to(dtype)
        if type(self).reset_parameters is not DropIn.reset_parameters:
            self.reset_parameters()  # PyTorch's constructors call it too

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def reset_parameters(self) -> None:
        """Reinitialise all weights, and set the biases to zero."""
        for cell in self.rnn_lst:
            cell.reset_parameters()  # type: ignore[operator]
        self._reset_projections()

    @torch.no_grad()
    def _reset_projections(self) -> None:
        bound = math.sqrt(3 / self.hidden_size)  # the variance of the output is that of the input
        for weight in self.projections.parameters():
            weight.uniform_(-bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: these weights are not used by cuDNN."""

    @property
    def all_weights(self) -> list[list[Any]]:
        """A list [w_ih, w_hh, b_ih, b_hh] per layer and direction; initialisers may write to these tensors.

        w_ih is W, w_hh a view `(2·N·D, 1)` of v_f and v_r, b_ih is b_f and b_r, and b_hh is empty; without
        `bias` the last two are missing. Both directions of a layer share the same four. With `proj_size`, the
        projection of the direction follows.
        """
        lists = []
        for layer, cell in enumerate(self.rnn_lst):
            weights: list[Any] = [cell.transform.weight, cell.weight_c.unsqueeze(1)]  # type: ignore[union-attr,operator]
            if self.bias:
                weights += [cell.bias, cell.bias.new_empty(0)]  # type: ignore[operator]
            for direction in range(self.num_directions):
                maps = [self.projections[layer][direction].weight] if self.proj_size else []  # type: ignore[index]
                lists.append([*weights, *maps])
        return lists

    @property
    def _flat_weights(self) -> list[nn.Parameter]:
        """The parameters; code written for PyTorch's modules reads the dtype and device of the first one."""
        return list(self.parameters())

    def _check_row(self, name: str, state: Tensor, batch: tuple[int, ...], width: int) -> None:
        letters = "(L·N, B, H)" if width == self.hidden_size else "(L·N, B, H_out)"
        self._check_state_tensor(name, state, batch, letters, (self.num_layers * self.num_directions, width))

    def _run_layers(
        self,
        x: Tensor,
        c0: Tensor | None,
        where: Positions,
        after: Callable[[int, Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the layers from states `(L·N, B, D)`; return the output and final states of the same shape."""
        c0 = self._layer_states(state_for(self.mode, "hx" if self.mode == "GRU" else "c0", c0, x))
        output, c = run_layers(self.rnn_lst, self._enter(x, where.mask_pad), c0, where, after)  # type: ignore[arg-type]
        return output, returned_state(self._returned_states(c), x)

    def _projected(self, layer: int, x: Tensor) -> Tensor:
        """Apply the `proj_size` maps of a layer to its output."""
        if not self.proj_size:
            return x
        maps: nn.ModuleList = self.projections[layer]  # type: ignore[assignment]
        # Flatten first: whether a product with half of (T, B, ·) makes a copy depends on B, and a compiled
        # graph must not depend on B.
        parts = zip(maps, x.flatten(0, 1).chunk(len(maps), dim=-1), strict=True)
        outputs = [torch.unflatten(project(linear, part), 0, x.shape[:2]) for linear, part in parts]
        return torch.cat(outputs, dim=-1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        refuse_foreign(state_dict, f"{prefix}weight_hh_l0", self.mode, args[-1])
        super()._load_from_state_dict(state_dict, prefix, *args)


def last_outputs(output: Tensor, where: Positions, width: int) -> Tensor:
    """Return `(N, B, width)`: each direction's output at its last real step, or zeros if it has none."""
    length, batch, columns = output.shape
    mask_pad, cu_seqlens = where.mask_pad, where.cu_seqlens
    if cu_seqlens is not None:
        nothing = output.new_zeros(where.sequences(output), width)
        parts = enumerate(output.chunk(columns // width, dim=-1))
        return torch.stack([last_states(part, nothing, cu_seqlens, bool(second)) for second, part in parts])
    if length == 0:
        return output.new_zeros(columns // width, batch, width)
    if mask_pad is None:
        ends = [output[-1, :, :width], output[0, :, width:]]
    else:
        steps = torch.arange(length, device=output.device)[:, None]
        sequences = torch.arange(batch, device=output.device)
        # For a sequence without real steps any position works, because the output is zero at padding.
        last = torch.where(mask_pad, 0, steps).amax(0)
        first = torch.where(mask_pad, length - 1, steps).amin(0)
        ends = [output[last, sequences, :width], output[first, sequences, width:]]
    return torch.stack(ends[: columns // width])
