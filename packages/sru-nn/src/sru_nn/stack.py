"""The base of every stack: layers that each take the output of the previous one."""

from __future__ import annotations

from collections.abc import Iterable
from reprlib import repr as short
from typing import Any

from torch import Tensor, nn

from sru_nn.arguments import check_flags, check_probabilities, check_sizes
from sru_nn.fixed import refuse_change
from sru_nn.gemm import project
from sru_nn.recurrent import Recurrent, without_padding

MOST_LAYERS = 1000
"""More layers than any network has; building a mistyped number of layers could take hours."""


class Stack(Recurrent):
    """Layers that each take the output of the previous one; a subclass builds and runs them."""

    input_to_hidden: nn.Linear | None
    # Attributes that determine the layers.
    _fixed = frozenset({"hidden_size", "num_layers", "bidirectional", "num_directions", "output_size"})

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_change(self, self._fixed, name, value)
        super().__setattr__(name, value)

    def _set_sizes(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        bidirectional: bool,
        batch_first: bool,
        project_input: bool,
    ) -> int:
        """Set the attributes of all stacks and return the input size of the first layer."""
        who = type(self).__name__
        self.input_size, self.hidden_size, self.num_layers = check_sizes(
            who, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers
        )
        if self.num_layers > MOST_LAYERS:
            raise ValueError(f"{who}: num_layers must be at most {MOST_LAYERS}, got {short(num_layers)}")
        check_flags(who, bidirectional=bidirectional, batch_first=batch_first)
        self.num_directions = 2 if bidirectional else 1
        self.output_size = self.num_directions * self.hidden_size
        self.bidirectional = bool(bidirectional)
        self.batch_first = bool(batch_first)
        self.input_to_hidden = None
        if not project_input or self.input_size == self.output_size:
            return self.input_size
        self.input_to_hidden = nn.Linear(self.input_size, self.output_size, bias=False)
        return self.output_size

    @property
    def dropout(self) -> float:
        """The dropout probability; changes take effect at the next call, as in `torch.nn`."""
        # A subclass may have its own module under this name.
        return self._modules.get("dropout", self.__dict__.get("dropout"))  # type: ignore[return-value]

    @dropout.setter
    def dropout(self, p: float) -> None:
        check_probabilities(type(self).__name__, dropout=p)
        self.__dict__["dropout"] = float(p)
        self._set_dropout(float(p))

    def _set_dropout(self, p: float) -> None:
        """Set the dropout probability of the layers."""
        raise NotImplementedError

    def _first(self) -> nn.Module | None:
        return self.input_to_hidden

    def _enter(self, x: Tensor, mask_pad: Tensor | None) -> Tensor:
        """Zero the padding and apply the linear map before the layers."""
        x = without_padding(x, mask_pad)
        return x if self.input_to_hidden is None else project(self.input_to_hidden, x)

    def reset_parameters(self) -> None:
        """Reinitialise all weights."""
        for child in self.children():
            for module in child if isinstance(child, nn.ModuleList) else (child,):
                module.reset_parameters()  # type: ignore[operator]

    def extra_repr(self) -> str:
        """Show the options that the layers do not show."""
        shown = ("bidirectional", "nn_rnn_compatible_return", "causal", "batch_first")
        flags = [f"{name}=True" for name in shown if getattr(self, name, False)]
        return ", ".join([f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}", *flags])


def by_layer(states: Tensor | None, layers: int) -> Iterable[Tensor | None]:
    """Return the state of each layer, from `(L, ...)` or None for zeros."""
    return [None] * layers if states is None else states.unbind(0)
