"""`sru_nn.experimental.length_parallel`, under its old name."""

from sru_nn.experimental.length_parallel import LengthParallel

__all__ = ["LengthParallel"]
