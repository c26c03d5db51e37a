"""Stacked recurrent layers that return the outputs of every layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sru_apps.nn.encoders import ENCODERS, EncoderOptions, RecurrentEncoder, RecurrentName
from sru_apps.nn.layers import make_dropout


class StackedEncoder(nn.Module):
    """Stacked layers of any recurrent cell, with the outputs of all layers or of the last one.

        h⁰ = x        hˡ = layer(dropout(hˡ⁻¹)), plus hˡ⁻¹ with `residual` for l > 1
        output = dropout([h¹; ...; hᴸ])

    A unidirectional cell gets a second layer that reads the real positions backwards. Padding never
    changes a result.

    Args:
        name: The cell, as for `RecurrentEncoder`.
        input_size: E.
        hidden_size: D, per direction.
        num_layers: L.
        dropout: Dropout on the input of each layer. If `variational`, `sru` applies it inside the cell: to
            the input of the projection and to the state before the output, but not to the highway.
        output_dropout: Dropout on the output.
        variational: Whether dropout draws one mask for all positions of a sequence.
        concat_layers: Whether to concatenate the outputs of all layers, or return that of the last one.
        residual: Whether the input of each layer but the first is added to its output.
        bidirectional: Whether layers read both ways.
        options: Options that only some cells have.

    Attributes:
        output_size: O, the features of the output: N·D, times L with `concat_layers`.

    Raises:
        ValueError: `name` is unknown or lacks one of the options.

    Source: Chen et al., "Reading Wikipedia to Answer Open-Domain Questions" (2017), section 3.2; for
    variational dropout, Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent
    Neural Networks" (2016).
    """

    def __init__(
        self,
        name: RecurrentName,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 3,
        dropout: float = 0.0,
        output_dropout: float = 0.0,
        variational: bool = True,
        concat_layers: bool = True,
        residual: bool = False,
        bidirectional: bool = True,
        options: EncoderOptions | None = None,
    ) -> None:
        super().__init__()
        self.concat_layers, self.residual = concat_layers, residual
        width = hidden_size * (2 if bidirectional else 1)
        sizes = [input_size, *[width] * (num_layers - 1)]
        self.output_size = width * (num_layers if concat_layers else 1)
        both_ways = name in ENCODERS and ENCODERS[name].both_ways

        def build(size: int) -> RecurrentEncoder:
            ways = bidirectional and both_ways
            return RecurrentEncoder(
                name, size, hidden_size, num_layers=1, bidirectional=ways, options=options
            )

        self.layers = nn.ModuleList(map(build, sizes))
        self.backward_layers: nn.ModuleList | None = None
        if bidirectional and not both_ways:
            self.backward_layers = nn.ModuleList(map(build, sizes))
        inside = ENCODERS[name].drop_inside if variational else None
        if inside is not None:
            for layer in self.layers:
                inside(layer.rnn, dropout)
        self.dropout = nn.Identity() if inside is not None else make_dropout(dropout, variational=variational)
        self.output_dropout = make_dropout(output_dropout, variational=variational)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode a batch.

        Args:
            x: (T, B, E).
            mask: (T, B) bool, True at padding, which must follow the real positions; None without padding.

        Returns:
            (T, B, O), zero at padding.
        """
        outputs = self.parts(x, mask)
        return self.output_dropout(outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1))  # type: ignore[no-any-return]

    def parts(self, x: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Return the features that `forward` concatenates and applies the output dropout to.

        Args:
            x: As for `forward`.
            mask: As for `forward`.

        Returns:
            Parts of the features, (T, B, N·D) each.
        """
        order = None if self.backward_layers is None or mask is None else _backwards(mask)
        outputs: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            given = self.dropout(x)
            h = layer(given, mask)[0]
            if self.backward_layers is not None:
                back = self.backward_layers[number](_take(given, order), mask)[0]
                h = torch.cat([h, _take(back, order)], -1)
            x = h + x if self.residual and outputs else h
            outputs.append(x)
        return outputs if self.concat_layers else [x]


def _backwards(mask: Tensor) -> Tensor:
    """Return the order, (T, B, 1), that reverses the real positions and leaves padding in place."""
    places = torch.arange(mask.shape[0], device=mask.device).unsqueeze(1)
    return torch.where(mask, places, (~mask).sum(0) - 1 - places).unsqueeze(-1)


def _take(x: Tensor, order: Tensor | None) -> Tensor:
    return x.flip(0) if order is None else x.gather(0, order.expand_as(x))
