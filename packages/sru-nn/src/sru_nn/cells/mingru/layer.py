"""A stack of minimal GRU layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sru_nn.cells.mingru.arguments import check_arguments
from sru_nn.cells.mingru.operator import mingru_recurrence
from sru_nn.positions import Positions
from sru_nn.residual_stack import ResidualBlock, ResidualStack


class MinGRU(ResidualStack):
    """A stack of minimal GRU layers, whose gates do not depend on the state.

    All time steps are computed in parallel.

    With x the input of a layer and n_t = norm(x_t),

        z_t = σ(W_z n_t + b_z)        h̃_t = W_h n_t + b_h
        h_t = (1 − z_t) ⊙ h_{t-1} + z_t ⊙ h̃_t

    and the layer returns x_t + W_o h_t. The stack returns the norm of the last layer's output. If E ≠ D, the
    input is first projected by a linear map without a bias. The state is `(L, B, D)`.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the number of hidden features.
        num_layers: L, the number of layers.
        dropout: Probability of the dropout on each layer's residual branch.
        batch_first: Whether the batch dimension of input, output and `mask_pad` comes first. The layout of
            the state does not change.
        learn_initial_state: Whether each layer has a learned initial state, a parameter `initial_state`
            `(D,)`, instead of zeros. It gets no gradient if a state is always passed and no sequence is
            reset.

    Attributes:
        layers: The L layers, each with `norm`, `transform` (W_h, then W_z, in one `nn.Linear`), `bias`
            `(2, D)`, b_h then b_z, `output` and `dropout`.
        norm: The norm of the output.
        input_to_hidden: The first linear map, or None.

    Raises:
        TypeError: A size is not an integer.
        ValueError: An argument is outside its range.

    Source: Feng et al., "Were RNNs All We Needed?", 2024 (arXiv:2410.01201), section 3.1.

    Example:
        >>> import torch
        >>> rnn = MinGRU(64, 128, num_layers=2)
        >>> h, state = rnn(torch.randn(20, 8, 64))
        >>> h.shape, state.shape
        (torch.Size([20, 8, 128]), torch.Size([2, 8, 128]))
        >>> h, state = rnn.step(torch.randn(8, 64), state)
        >>> h.shape
        torch.Size([8, 128])
    """

    state_letters = "(L, B, D)"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 2,
        *,
        dropout: float = 0.0,
        batch_first: bool = False,
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, dropout, batch_first)
        self._add(MinGRUBlock(hidden_size, dropout, learn_initial_state) for _ in range(num_layers))


class MinGRUBlock(ResidualBlock):
    """One layer of `MinGRU`."""

    def __init__(self, hidden_size: int, dropout: float, learn_initial_state: bool = False) -> None:
        super().__init__(
            hidden_size, 2 * hidden_size, hidden_size, (hidden_size,), dropout, learn_initial_state
        )
        self.bias = nn.Parameter(torch.empty(2, hidden_size))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Reinitialise the weights, and set the biases to zero."""
        super().reset_parameters()
        self.bias.zero_()

    def recur(self, u: Tensor, state: Tensor | None, where: Positions) -> tuple[Tensor, Tensor]:
        """Return the states `(T, B, D)`, and the last."""
        u = u.view(*u.shape[:-1], 2, u.shape[-1] // 2) + self.bias.to(u.dtype)
        mask_pad, reset, cu_seqlens = where
        begins = {"reset": reset, "h_reset": self._at_resets(u, where), "cu_seqlens": cu_seqlens}
        check_arguments(u, state, mask_pad, **begins)
        return mingru_recurrence(u, state, mask_pad=mask_pad, **begins)
