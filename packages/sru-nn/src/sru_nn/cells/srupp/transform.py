"""The transforms of SRU++: their common base, and the one without attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sru_nn.arguments import check_probabilities, check_sizes
from sru_nn.cells.srupp.memory import Cache
from sru_nn.gemm import project
from sru_nn.watched import refuse_script


class Transform(nn.Module):
    """The base of the two transforms of an SRU++ layer: sizes, the first matrix, initialisation."""

    layer_norm: nn.LayerNorm | None
    __prepare_scriptable__ = refuse_script

    def __init__(self, in_features: int, out_features: int, proj_features: int, dropout: float) -> None:
        super().__init__()
        who = type(self).__name__
        check_sizes(who, in_features=in_features, out_features=out_features, proj_features=proj_features)
        check_probabilities(who, dropout=dropout)
        self.in_features = in_features
        self.out_features = out_features
        self.proj_features = proj_features
        self.dropout = nn.Dropout(dropout)
        self.linear1 = nn.Linear(in_features, proj_features, bias=False)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Apply Glorot initialisation to the matrices; scale the last one down for the dropout before it."""
        *first, last = [module for module in self.children() if isinstance(module, nn.Linear)]
        for linear in first:
            nn.init.xavier_uniform_(linear.weight)
        nn.init.xavier_uniform_(last.weight, gain=math.sqrt(1 - self.dropout.p))
        if self.layer_norm is not None:
            self.layer_norm.reset_parameters()


class SRUppProjectedLinear(Transform):
    """The transform of an SRU++ layer without attention: a product of two matrices.

        u_t = W_2 dropout(norm(W_1 x_t))

    Args:
        in_features: E, the number of input features.
        out_features: K·N·D, the number of output features.
        proj_features: P, the inner width.
        dropout: Probability of the dropout between the two.
        layer_norm: Whether the input of W_2 is normalised.

    Attributes:
        linear1: W_1, an `nn.Linear` without a bias.
        linear2: W_2, an `nn.Linear` without a bias.

    Raises:
        ValueError: A size is not positive, or the probability is outside [0, 1).

    Source: Lei, "When Attention Meets Fast Recurrence: Training Language Models with Reduced Compute", EMNLP
    2021, section 3; options and defaults as in the `sru` package, version 3.0.0.dev6.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        proj_features: int,
        dropout: float = 0.0,
        layer_norm: bool = False,
    ) -> None:
        super().__init__(in_features, out_features, proj_features, dropout)
        self.linear2 = nn.Linear(proj_features, out_features, bias=False)
        self.layer_norm = nn.LayerNorm(proj_features) if layer_norm else None
        self.reset_parameters()

    def forward(
        self,
        input: Tensor,
        mask_pad: Tensor | None = None,
        attn_mask: Tensor | None = None,
        memory: Tensor | Cache | None = None,
        memory_mask_pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Compute the pre-activations `(T, B, K·N·D)` of `(T, B, E)`; the other arguments are not used."""
        z = project(self.linear1, input)
        if self.layer_norm is not None:
            z = self.layer_norm(z)
        return project(self.linear2, self.dropout(z))
