"""A stack of SRU layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from sru_nn.cells.sru.layer import SRUCell
from sru_nn.decoding import can_step, step
from sru_nn.experimental.length_parallel import LengthParallel
from sru_nn.forms import check_sequences, run_step, run_time_major, unpack
from sru_nn.gemm import project
from sru_nn.module_checks import check_like_parameters, one_of_two_names
from sru_nn.stack import Stack


class SRU(Stack):
    """A stack of SRU layers, each as in `SRUCell`: the output of one is the input of the next.

    The arguments, their defaults and their meaning are those of `sru` 2.6.0, in the same order, so that
    `from sru import SRU` can become `from sru_nn import SRU`; the keyword-only ones are additions.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the number of hidden features of each direction.
        num_layers: L, the number of layers.
        dropout: Probability of the variational dropout of each layer's output but the last one's: one mask
            for all steps, on g(c_t) and not on the highway.
        rnn_dropout: Probability of the variational dropout of the input of each layer's projection.
        bidirectional: Whether each layer has a second direction from the last step to the first.
        projection_size: Inner width of each layer's weight as a product of two matrices; 0 for one matrix.
            A sequence has one for each layer.
        use_tanh: Whether the state passes a tanh on its way to the output.
        layer_norm: Whether each layer's input (its output with `normalize_after`) is normalised.
        highway_bias: Initial value of the output gate's bias; below zero favours the highway.
        has_skip_term: Whether each layer has a highway connection from its input to its output.
        rescale: Whether the highway is scaled so that deep stacks keep their variance at initialisation.
        v1: Whether the recurrent vectors are fixed at zero.
        nn_rnn_compatible_return: Whether the state is returned as `(L·N, B, D)`, like `nn.LSTM`'s.
        custom_m: A module, copied for each layer, or a list of L modules, used in place of the projections
            (`SRUCell` says what they map).
        proj_input_to_hidden_first: Whether a linear map takes the input to the output's width first.
        amp_recurrence_fp16: Whether autocast may run the recurrence in half precision.
        normalize_after: Whether `layer_norm` normalises the outputs instead of the inputs.
        weight_c_init: Bound of the uniform initialisation of the recurrent vectors.
        use_relu: Whether the state passes a rectifier on its way to the output.
        batch_first: Whether input, output and `mask_pad` have the batch before the time. The state has not.
        transform_module: `custom_m`, as `sru` 3.0.0.dev calls it.
        length_parallel: Whether `forward` solves for all steps at once:
            `sru_nn.experimental.length_parallel`.

    State dicts of `sru` 2.3.5, 2.6.0 and 3.0.0.dev6 load as they are; one of another architecture raises a
    `RuntimeError` that names the first argument that differs and both values, also with `strict=False`.

    Attributes:
        rnn_lst: The L layers, of type `SRUCell`.
        input_to_hidden: The first linear map, or None.

    Raises:
        ValueError: An argument is outside its range, `custom_m` or `projection_size` has another length than
            `num_layers`, or an argument is given by both of its names.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", EMNLP 2018.

    Example:
        >>> import torch
        >>> rnn = SRU(64, 128, num_layers=2)
        >>> h, c = rnn(torch.randn(20, 8, 64))
        >>> h.shape, c.shape
        (torch.Size([20, 8, 128]), torch.Size([2, 8, 128]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 2,
        dropout: float = 0.0,
        rnn_dropout: float = 0.0,
        bidirectional: bool = False,
        projection_size: int | Sequence[int] = 0,
        use_tanh: bool = False,
        layer_norm: bool = False,
        highway_bias: float = 0.0,
        has_skip_term: bool = True,
        rescale: bool = False,
        v1: bool = False,
        nn_rnn_compatible_return: bool = False,
        custom_m: nn.Module | Sequence[nn.Module] | None = None,
        proj_input_to_hidden_first: bool = False,
        amp_recurrence_fp16: bool = False,
        normalize_after: bool = False,
        weight_c_init: float | None = None,
        *,
        use_relu: bool = False,
        batch_first: bool = False,
        transform_module: nn.Module | Sequence[nn.Module] | None = None,
        length_parallel: bool | LengthParallel = False,
    ) -> None:
        super().__init__()
        custom_m = one_of_two_names("SRU", "custom_m", custom_m, None, "transform_module", transform_module)
        if num_layers < 1:
            raise ValueError(f"SRU: num_layers must be at least 1, got {num_layers}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_directions = 2 if bidirectional else 1
        self.output_size = self.num_directions * hidden_size
        self.num_layers = num_layers
        self.bidirectional = bool(bidirectional)
        self.nn_rnn_compatible_return = bool(nn_rnn_compatible_return)
        self.batch_first = bool(batch_first)

        self.input_to_hidden: nn.Linear | None = None
        first_size = input_size
        if proj_input_to_hidden_first and input_size != self.output_size:
            self.input_to_hidden = nn.Linear(input_size, self.output_size, bias=False)
            first_size = self.output_size
        widths = _width_per_layer(projection_size, num_layers)
        modules = _module_per_layer(custom_m, num_layers)
        self.rnn_lst = nn.ModuleList(
            SRUCell(
                self.output_size if layer else first_size,
                hidden_size,
                dropout=dropout if layer + 1 < num_layers else 0.0,
                rnn_dropout=rnn_dropout,
                bidirectional=bidirectional,
                n_proj=widths[layer],
                use_tanh=use_tanh,
                highway_bias=highway_bias,
                has_skip_term=has_skip_term,
                layer_norm=layer_norm,
                rescale=rescale,
                v1=v1,
                custom_m=modules[layer],
                amp_recurrence_fp16=amp_recurrence_fp16,
                normalize_after=normalize_after,
                weight_c_init=weight_c_init,
                use_relu=use_relu,
                length_parallel=length_parallel,
            )
            for layer in range(num_layers)
        )

    def __getitem__(self, layer: int) -> SRUCell:
        """Return a layer."""
        return self.rnn_lst[layer]  # type: ignore[return-value]

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        if self.input_to_hidden is not None:
            self.input_to_hidden.reset_parameters()
        for cell in self.rnn_lst:
            cell.reset_parameters()  # type: ignore[operator]

    def forward(
        self,
        input: Tensor | PackedSequence,
        c0: Tensor | None = None,
        mask_pad: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Run the stack.

        Args:
            input: `(T, B, E)`, `(B, T, E)` with `batch_first`, `(T, E)` for a single sequence, or a
                `PackedSequence`.
            c0: `(L, B, N·D)`, or `(L, N·D)` for a single sequence: the states before the first step;
                zeros if None. With `nn_rnn_compatible_return`, `(L·N, B, D)` is taken too.
            mask_pad: `(T, B)`, `(B, T)` with `batch_first`, or `(T,)` for a single sequence: non-zero
                where a position is padding. The state passes it unchanged and its output is zero (the bias of
                the norm with `normalize_after`, as in `sru` 2.6.0).

        Returns:
            `h`: the outputs of the last layer, in the form of `input` with N·D features.
            `c`: `(L, B, N·D)`, the states after the last step; `(L·N, B, D)` with
            `nn_rnn_compatible_return`; without B for a single sequence. float32, or float64 for float64
            input.

        Raises:
            ValueError: A shape does not fit, or `mask_pad` comes with a `PackedSequence`.
            TypeError: A dtype does not fit.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, c0, mask_pad)
        check_sequences("SRU", input, mask_pad, self.input_size, batch_first=self.batch_first)
        batch = () if input.dim() == 2 else (input.shape[0 if self.batch_first else 1],)
        self._check_state(c0, *batch)
        return run_time_major(self._forward_time_major, input, c0, mask_pad, batch_first=self.batch_first)

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run one time step: what `forward` does with a sequence of one.

        A sequence may be fed step by step, the state handed on, as long as it has one direction: a second one
        would start anew at each step.

        Args:
            x: `(B, E)`, or `(E,)` for a single sequence.
            state: The state before the step, in the form `forward` takes as `c0`; zeros if None.

        Returns:
            `h`: `(B, N·D)`, or `(N·D,)` for a single sequence: the output of the last layer.
            `state`: The state after the step, in the form `forward` returns as `c`.

        Raises:
            ValueError: A shape does not fit.
            TypeError: A dtype does not fit.

        Without gradients, small batches on the CPU take about as long as their weights take to be read.
        """
        return run_step(self, x, state, self.input_size, batch_first=self.batch_first)

    def _forward_packed(
        self, packed: PackedSequence, c0: Tensor | None, mask_pad: Tensor | None
    ) -> tuple[PackedSequence, Tensor]:
        in_order = PackedSequence(packed.data, packed.batch_sizes)
        padded, lengths, mask = unpack("SRU", in_order, mask_pad, self.input_size)
        self._check_state(c0, padded.shape[1])
        if c0 is not None and packed.sorted_indices is not None:
            c0 = self._layer_states(c0).index_select(1, packed.sorted_indices)
        h, c = self._forward_time_major(padded, c0, mask)
        data = pack_padded_sequence(h, lengths).data
        c = c if packed.unsorted_indices is None else c.index_select(1, packed.unsorted_indices)
        return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices), c

    def _forward_time_major(
        self, x: Tensor, c0: Tensor | None, mask_pad: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if c0 is not None:
            c0 = self._layer_states(c0)
        if mask_pad is not None:
            # Not even through a projection may a NaN in the padding reach a gradient.
            x = x.masked_fill(mask_pad.bool().unsqueeze(-1), 0.0)
        if self.input_to_hidden is not None:
            check_like_parameters("SRU", x, self.input_to_hidden)
            x = project(self.input_to_hidden, x)
        cells: list[SRUCell] = list(self.rnn_lst)  # type: ignore[arg-type]
        if x.shape[0] == 1 and mask_pad is None and can_step(cells, x, c0):
            x, c = step(cells, x, c0)
        else:
            x, c = self._run_layers(cells, x, c0, mask_pad)
        return x, self._returned_states(c)

    def _run_layers(
        self, cells: list[SRUCell], x: Tensor, c0: Tensor | None, mask_pad: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        states: Sequence[Tensor | None] = [None] * self.num_layers if c0 is None else c0.unbind(0)
        last = []
        for cell, state in zip(cells, states, strict=True):
            x, c = cell(x, state, mask_pad, padding_is_finite=True)
            last.append(c)
        return x, torch.stack(last)

    def extra_repr(self) -> str:
        """Show what the layers' own lines do not."""
        parts = [f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"]
        shown = ("bidirectional", "nn_rnn_compatible_return", "batch_first")
        parts += [f"{name}=True" for name in shown if getattr(self, name)]
        return ", ".join(parts)


def _module_per_layer(
    custom_m: nn.Module | Sequence[nn.Module] | None, num_layers: int
) -> list[nn.Module] | list[None]:
    if custom_m is None:
        return [None] * num_layers
    if isinstance(custom_m, nn.Module) and not isinstance(custom_m, nn.ModuleList):
        return [copy.deepcopy(custom_m) for _ in range(num_layers)]
    modules = list(custom_m)
    if len(modules) != num_layers:
        raise ValueError(f"SRU: custom_m must hold one module per layer, {num_layers}, got {len(modules)}")
    return modules


def _width_per_layer(projection_size: int | Sequence[int], num_layers: int) -> list[int]:
    if isinstance(projection_size, int):
        return [projection_size] * num_layers
    widths = list(projection_size)
    if len(widths) != num_layers:
        raise ValueError(
            f"SRU: projection_size must be a number, or one for each layer, {num_layers}, got {len(widths)}"
        )
    return widths
