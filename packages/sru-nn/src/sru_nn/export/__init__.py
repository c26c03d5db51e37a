"""Deployment of models with recurrent modules: `torch.export`, AOTInductor and ONNX.

`torch.export.export` works without any of these functions: it keeps the operators of `sru_nn` in its graph,
and the program uses the kernels if `sru_nn` is imported. `decompositions` replaces the operators with
PyTorch's own; `to_aoti` and `to_onnx` export a model and write a file that runs without `sru_nn`.
"""

from sru_nn.export.files import to_aoti, to_onnx
from sru_nn.export.operators import decompositions

__all__ = ["decompositions", "to_aoti", "to_onnx"]
