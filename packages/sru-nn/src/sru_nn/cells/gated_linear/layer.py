"""A stack of gated linear RNN layers: linear attention with a gate per key."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_nn.arguments import check_number, check_sizes
from sru_nn.cells.gated_linear.arguments import check_arguments
from sru_nn.cells.gated_linear.operator import gated_linear_recurrence
from sru_nn.dtypes import accumulate_dtype
from sru_nn.positions import Positions
from sru_nn.residual_stack import ResidualBlock, ResidualStack

SHORTEST_MEMORY = 4.0


class GatedLinearRNN(ResidualStack):
    """A stack of gated linear RNN layers, with a matrix state and time steps that are computed in parallel.

    With x the input of a layer and W_i a linear map to each of H heads, each head computes

        q_t, k_t, v_t = W_q n_t, W_k n_t, W_v n_t        n_t = norm(x_t)
        S_t = diag(g_t) S_{t-1} + k_t v_tᵀ               g_t = σ(W_g n_t + b_g)
        o_t = norm(S_tᵀ q_t)

    and the layer returns x_t + W_o o_t, or with `output_gate` x_t + W_o (o_t ⊙ silu(W_r n_t)), where o_t is
    the concatenation of the heads. The stack returns the norm of the last layer's output. If E ≠ D, the input
    is first projected by a linear map without a bias. The state is `(L, B, H, K, V)`.

    b_g is initialised so that the gates of a head forget at different rates: g = 1 − 1/τ for a zero input,
    with τ spaced geometrically from 4 steps for the first key to `memory` steps for the last.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the number of hidden features.
        num_layers: L, the number of layers.
        num_heads: H, the number of heads, a divisor of D; the values of a head have V = D / H features.
        key_size: K, the number of features of a head's queries and keys; V if None.
        dropout: Probability of the dropout on each layer's residual branch.
        batch_first: Whether the batch dimension of input, output and `mask_pad` comes first. The layout of
            the state does not change.
        output_gate: Whether the outputs of the heads are gated.
        memory: The number of steps that the slowest gates remember at initialisation.
        learn_initial_state: Whether each layer has a learned initial state, a parameter `initial_state`
            `(H, K, V)`, instead of zeros. It gets no gradient if a state is always passed and no sequence is
            reset.

    Attributes:
        layers: The L layers, each with `norm`, `transform` (W_q, W_k, W_g, W_v and W_r in this order, in one
            `nn.Linear`), `gate_bias` `(H, K)`, `output` and `dropout`.
        norm: The norm of the output.
        input_to_hidden: The first linear map, or None.

    Raises:
        TypeError: A size is not an integer.
        ValueError: An argument is outside its range.

    Source: Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
    Attention", ICML 2020; Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient
    Training", ICML 2024, section 4; for the biases Tallec and Ollivier, "Can Recurrent Neural Networks Warp
    Time?", ICLR 2018.

    Example:
        >>> import torch
        >>> rnn = GatedLinearRNN(64, 128, num_layers=2, num_heads=4)
        >>> h, state = rnn(torch.randn(20, 8, 64))
        >>> h.shape, state.shape
        (torch.Size([20, 8, 128]), torch.Size([2, 8, 4, 32, 32]))
        >>> h, state = rnn.step(torch.randn(8, 64), state)
        >>> h.shape
        torch.Size([8, 128])
    """

    state_letters = "(L, B, H, K, V)"
    _fixed = ResidualStack._fixed | {"num_heads", "key_size", "value_size", "output_gate", "memory"}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 2,
        *,
        num_heads: int = 1,
        key_size: int | None = None,
        dropout: float = 0.0,
        batch_first: bool = False,
        output_gate: bool = False,
        memory: float = 1024.0,
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, dropout, batch_first)
        hidden_size = self.hidden_size
        (num_heads,) = check_sizes("GatedLinearRNN", num_heads=num_heads)
        if hidden_size % num_heads:
            raise ValueError(
                f"GatedLinearRNN: num_heads must be a divisor of hidden_size = {hidden_size}, got {num_heads}"
            )
        value_size = hidden_size // num_heads
        (key_size,) = check_sizes("GatedLinearRNN", key_size=value_size if key_size is None else key_size)
        check_number("GatedLinearRNN", "memory", memory, at_least=SHORTEST_MEMORY)
        self.num_heads = num_heads
        self.value_size = value_size
        self.key_size = key_size
        self.output_gate = bool(output_gate)
        self.memory = float(memory)
        self._add(
            GatedLinearBlock(
                hidden_size,
                num_heads,
                key_size,
                dropout,
                self.output_gate,
                self.memory,
                learn_initial_state,
            )
            for _ in range(self.num_layers)
        )

    def extra_repr(self) -> str:
        """Show the options that the layers do not show."""
        parts = [super().extra_repr(), f"num_heads={self.num_heads}, key_size={self.key_size}"]
        return ", ".join(parts + (["output_gate=True"] if self.output_gate else []))


class GatedLinearBlock(ResidualBlock):
    """One layer of `GatedLinearRNN`."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        key_size: int,
        dropout: float,
        output_gate: bool,
        memory: float,
        learn_initial_state: bool = False,
    ) -> None:
        sizes = [num_heads * key_size] * 3 + [hidden_size] * (2 if output_gate else 1)
        state_shape = (num_heads, key_size, hidden_size // num_heads)
        super().__init__(hidden_size, sum(sizes), hidden_size, state_shape, dropout, learn_initial_state)
        self.sizes, self.memory = sizes, memory
        self.num_heads, self.key_size, self.value_size = state_shape
        self.gate_bias = nn.Parameter(torch.empty(num_heads, key_size))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Reinitialise the weights and biases."""
        super().reset_parameters()
        # For a module on "meta", torch would import its compiler to compute this, which takes a second.
        ends = math.log10(SHORTEST_MEMORY), math.log10(self.memory)
        steps = torch.logspace(*ends, self.key_size, device="cpu")
        self.gate_bias.copy_((steps - 1).log().expand_as(self.gate_bias))

    def recur(self, u: Tensor, state: Tensor | None, where: Positions) -> tuple[Tensor, Tensor]:
        """Return the outputs of all heads `(T, B, D)`, and the state."""
        parts = torch.split_with_sizes(u, self.sizes, dim=-1)
        q, k, u_g, v = (torch.unflatten(part, -1, (self.num_heads, -1)) for part in parts[:4])
        # In half precision the logarithm of a gate close to one would be rounded away.
        log_g = F.logsigmoid(u_g.to(accumulate_dtype(u.dtype)) + self.gate_bias)
        mask_pad, reset, cu_seqlens = where
        begins = {"reset": reset, "s_reset": self._at_resets(u, where), "cu_seqlens": cu_seqlens}
        check_arguments(q, k, v, log_g, state, mask_pad, **begins)
        o, state = gated_linear_recurrence(q, k, v, log_g, state, mask_pad=mask_pad, **begins)
        o = F.layer_norm(o, (self.value_size,)).flatten(-2)
        return (o * F.silu(parts[4]) if len(parts) > 4 else o), state
