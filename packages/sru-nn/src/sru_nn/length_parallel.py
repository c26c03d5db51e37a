"""`sru_nn.experimental.length_parallel`, under its old name."""

import warnings

from sru_nn.experimental.length_parallel import LengthParallel, Solution, solve

__all__ = ["LengthParallel", "Solution", "solve"]

warnings.warn(
    "sru_nn.length_parallel has moved to sru_nn.experimental.length_parallel; import it from there",
    FutureWarning,
    stacklevel=2,
)
