"""Deployment of models with recurrent modules: `torch.export`, AOTInductor and ONNX.

`torch.export.export` needs nothing of this package: it keeps the operators of `sru_nn` in its graph, and
where `sru_nn` is imported the program runs with the kernels. `decompositions` replaces the operators by
PyTorch's own; `to_aoti` and `to_onnx` export, replace and write a file that runs where there is no `sru_nn`.
"""

from sru_nn.export.files import to_aoti, to_onnx
from sru_nn.export.operators import decompositions

__all__ = ["decompositions", "to_aoti", "to_onnx"]
