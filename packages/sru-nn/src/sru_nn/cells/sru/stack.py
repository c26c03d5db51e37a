"""Stacks of SRU layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sru_nn.arguments import check_probabilities, input_and_state, one_of_two_names
from sru_nn.cells.sru.layer import SRUCell
from sru_nn.cells.sru.run import run_layers
from sru_nn.checkpoints.architecture import check_stack
from sru_nn.checkpoints.layouts import strip_wrappers
from sru_nn.experimental.length_parallel import LengthParallel
from sru_nn.positions import Positions
from sru_nn.stack import Stack


class SRUStack(Stack):
    """The base of all stacks of SRU layers: the layouts of the state, and loading state dicts."""

    nn_rnn_compatible_return: bool
    rnn_lst: nn.ModuleList

    def __getitem__(self, layer: int) -> Any:
        """Return a layer."""
        return self.rnn_lst[layer]

    def _set_dropout(self, p: float) -> None:
        for cell in list(self.rnn_lst)[:-1]:
            cell.dropout = p  # type: ignore[assignment]

    def _check_state(self, state: Any, *batch: int) -> None:
        if state is None:
            return
        shapes = [(self.num_layers, self.output_size)]
        if self.nn_rnn_compatible_return:
            shapes.append((self.num_layers * self.num_directions, self.hidden_size))
        self._check_state_tensor("c0", state, batch, "(L, B, N·D)", *shapes)

    def _initial(self) -> Any:
        states = [cell.initial_state for cell in self.rnn_lst]
        return None if states[0] is None else torch.stack(states)  # type: ignore[arg-type]

    def _layer_states(self, c0: Tensor | None) -> Tensor | None:
        """Convert the initial state from either of its shapes to `(L, B, N·D)`."""
        if c0 is None or c0.shape[-1] == self.output_size:
            return c0
        # Not a transpose and a flatten: whether these copy depends on B, and a graph must not depend on it.
        return torch.cat(torch.unflatten(c0, 0, (self.num_layers, self.num_directions)).unbind(1), dim=-1)

    def _returned_states(self, c: Tensor) -> Tensor:
        """Convert the states from `(L, B, N·D)` to the shape that this module returns."""
        if not self.nn_rnn_compatible_return or self.num_directions == 1:
            return c
        return torch.stack([part for layer in c.unbind(0) for part in layer.chunk(2, dim=-1)])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        strip_wrappers(state_dict, prefix)
        names = ("num_layers", "input_size", "hidden_size", "num_directions")
        arguments = {name: getattr(self, name) for name in names}
        arguments["proj_input_to_hidden_first"] = self.input_to_hidden is not None
        check_stack(arguments, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


class SRU(SRUStack):
    """A stack of SRU layers, each as in `SRUCell`: the output of one is the input of the next.

    The arguments, their defaults and their meaning are those of `sru` 2.6.0, in the same order, so that
    `from sru import SRU` can become `from sru_nn import SRU`; the keyword-only ones are additions.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the number of hidden features of each direction.
        num_layers: L, the number of layers.
        dropout: Probability of the variational dropout on the output of each layer but the last: one mask for
            all steps, applied to g(c_t) and not to the highway.
        rnn_dropout: Probability of the variational dropout on the input of each layer's projection.
        bidirectional: Whether each layer has a second direction from the last step to the first.
        projection_size: Inner width of each layer's weight as a product of two matrices; 0 for one matrix. A
            sequence of numbers sets one width per layer.
        use_tanh: Whether to apply a tanh to the state before the output.
        layer_norm: Whether each layer's input (its output with `normalize_after`) is normalised.
        highway_bias: Initial value of the output gate's bias; below zero favours the highway.
        has_skip_term: Whether each layer has a highway connection from its input to its output.
        rescale: Whether the highway is scaled to preserve the variance in deep stacks at initialisation.
        v1: Whether the recurrent vectors are fixed at zero.
        nn_rnn_compatible_return: Whether the state is returned as `(L·N, B, D)`, like `nn.LSTM`'s.
        custom_m: A module, copied for each layer, or a list of L modules, used instead of the projections
            (see `SRUCell`).
        proj_input_to_hidden_first: Whether the input is first projected to the width of the output.
        amp_recurrence_fp16: Whether autocast may run the recurrence in half precision.
        normalize_after: Whether `layer_norm` normalises the outputs instead of the inputs.
        weight_c_init: Bound of the uniform initialisation of the recurrent vectors.
        use_relu: Whether to apply a ReLU to the state before the output.
        batch_first: Whether the batch dimension of input, output and `mask_pad` comes first. The layout of
            the state does not change.
        transform_module: The name of `custom_m` in `sru` 3.0.0.dev.
        length_parallel: Whether `forward` solves for all steps at once:
            `sru_nn.experimental.length_parallel`.
        learn_initial_state: Whether each layer has a learned initial state (see `SRUCell`).

    State dicts of `sru` 2.3.5, 2.6.0 and 3.0.0.dev6 load unchanged; one of another architecture raises a
    `RuntimeError`, even with `strict=False`, that names the first argument that differs and both values.

    Attributes:
        rnn_lst: The L layers, of type `SRUCell`.
        input_to_hidden: The first linear map, or None.

    Raises:
        TypeError: A size is not an integer.
        ValueError: An argument is outside its range, the length of `custom_m` or `projection_size` differs
            from `num_layers`, or an argument is passed under both of its names.

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
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__()
        custom_m = one_of_two_names("SRU", "custom_m", custom_m, None, "transform_module", transform_module)
        first_size = self._set_sizes(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            batch_first=batch_first,
            project_input=proj_input_to_hidden_first,
        )
        self.nn_rnn_compatible_return = bool(nn_rnn_compatible_return)
        widths = _per_layer("projection_size", projection_size, num_layers)
        modules = _per_layer("custom_m", custom_m, num_layers)
        if isinstance(custom_m, nn.Module) and not isinstance(custom_m, nn.ModuleList):
            modules = [copy.deepcopy(custom_m) for _ in range(num_layers)]
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
                learn_initial_state=learn_initial_state,
            )
            for layer in range(num_layers)
        )
        self.dropout = dropout

    @property
    def rnn_dropout(self) -> float:
        """The dropout probability of the layers' inputs; changes take effect at the next call."""
        return self._modules.get("rnn_dropout") or self[0].rnn_dropout  # type: ignore[return-value]

    @rnn_dropout.setter
    def rnn_dropout(self, p: float) -> None:
        check_probabilities("SRU", rnn_dropout=p)
        for cell in self.rnn_lst:
            cell.rnn_dropout = float(p)  # type: ignore[assignment]

    def forward(
        self,
        input: Tensor | PackedSequence | None = None,
        c0: Tensor | None = None,
        mask_pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        x: Tensor | PackedSequence | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Run the stack.

        Args:
            input: `(T, B, E)`, `(B, T, E)` with `batch_first`, `(T, E)` for a single sequence; `(total, E)`
                or `(1, total, E)` with `cu_seqlens`; or a `PackedSequence`.
            c0: `(L, B, N·D)`, or `(L, N·D)` for a single sequence: the states before the first step; the
                learned ones, or zeros, if None. With `nn_rnn_compatible_return`, `(L·N, B, D)` is also
                accepted.
            mask_pad: `(T, B)`, `(B, T)` with `batch_first`, or `(T,)` for a single sequence: non-zero
                where a position is padding. Padding does not change the state, and its output is zero (the
                bias of the norm with `normalize_after`, as in `sru` 2.6.0).
            reset: Bool, in the shape of `mask_pad`: True where a sequence begins. No state and no gradient
                crosses this point; the second direction restarts just before it. A reset at padding is
                ignored.
            cu_seqlens: `(S + 1,)` int32 or int64: the input holds S concatenated sequences without padding,
                sequence s from `cu_seqlens[s]` to `cu_seqlens[s + 1]`. The states then have S instead of B.
                The values are checked on the CPU only.
            x: Another name for `input`.
            state: Another name for `c0`.

        Returns:
            `h`: the outputs of the last layer, with the layout of `input` and N·D features.
            `c`: `(L, B, N·D)`, the states after the last step; `(L·N, B, D)` with
            `nn_rnn_compatible_return`; without B for a single sequence. float32, or float64 for float64
            input.

        Raises:
            ValueError: A shape does not fit, an argument is passed under both of its names, `cu_seqlens` does
                not fit the input, or it or a `PackedSequence` is combined with an argument that it excludes.
            TypeError: A dtype does not fit.
        """
        given, c0 = input_and_state(self, input, c0, x, state)
        return self._forward(given, c0, mask_pad, reset=reset, cu_seqlens=cu_seqlens)

    def _run(self, x: Tensor, state: Tensor | None, where: Positions) -> tuple[Tensor, Tensor]:
        x = self._enter(x, where.mask_pad)
        h, c = run_layers(self.rnn_lst, x, self._layer_states(state), where)  # type: ignore[arg-type]
        return h, self._returned_states(c)


def _per_layer(name: str, value: Any, num_layers: int) -> list[Any]:
    """Return one value per layer, given one for all or a sequence of them."""
    if isinstance(value, str) or not isinstance(value, (Sequence, nn.ModuleList)):
        return [value] * num_layers
    if len(value) != num_layers:
        raise ValueError(f"SRU: {name} must be one value or one per layer, {num_layers}, got {len(value)}")
    return list(value)
