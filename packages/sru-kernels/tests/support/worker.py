"""A process that runs a CUDA build of `sru_kernels`: reads requests on stdin, answers on stdout."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import pickle
import runpy
import sys
from collections.abc import Callable

import numpy as np
from invoke import arguments, invoke
from numpy.typing import NDArray

Arrays = dict[str, NDArray]


def own_memory(array: NDArray, shift: int) -> NDArray:
    """A copy at the end of its allocation, so that the address sanitizer detects accesses beyond the end.

    Its address is a multiple of 16 plus `shift`.
    """
    copy = np.empty(array.nbytes + shift, np.uint8)[shift:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def launch(
    function: str,
    fields: dict[str, object],
    inputs: Arrays,
    outputs: Arrays,
    *,
    shift: int = 0,
    same: dict[str, str] | None = None,
    **options: int,
) -> Arrays:
    """Run a kernel of `sru_kernels.cuda` and return its outputs. `same` maps inputs to outputs they share."""
    from sru_kernels import cuda

    read, written = (
        {name: own_memory(array, shift) for name, array in group.items()} for group in (inputs, outputs)
    )
    read |= {name: written[output] for name, output in (same or {}).items()}
    invoke(getattr(cuda, function), fields, read, written, **options)
    return written


def launch_at(function: str, fields: dict[str, object], addresses: dict[str, int], **options: int) -> None:
    """Call a kernel of `sru_kernels.cuda` with the given addresses."""
    from sru_kernels import cuda

    getattr(cuda, function)(arguments(function, fields, addresses), **options)


def ask(name: str, *arguments: object) -> object:
    """Call a function of `sru_kernels.cuda` that takes and returns plain values."""
    from sru_kernels import cuda

    return getattr(cuda, name)(*arguments)


def last_launch() -> tuple[str, int, int]:
    """The kernel, the blocks and the threads per block of the last launch; only on the stand-in runtime."""
    runtime = ctypes.CDLL("libcudart.so.13")
    runtime.ptxrun_last_launch.restype = ctypes.c_char_p
    name, blocks, threads = runtime.ptxrun_last_launch().decode().split()
    return name, int(blocks), int(threads)


def current_device() -> int:
    """The current device of this thread."""
    device = ctypes.c_int(-1)
    assert ctypes.CDLL("libcudart.so.13").cudaGetDevice(ctypes.byref(device)) == 0
    return device.value


def diagnosis() -> str:
    """The output of `python -m sru_kernels`."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_module("sru_kernels", run_name="__main__")
    return printed.getvalue()


def answer(function: Callable[..., object], *arguments: object, **options: object) -> tuple[str, object]:
    try:
        return "result", function(*arguments, **options)
    except Exception as error:
        return type(error).__name__, str(error)


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps other output out of the stream of answers
    functions = {
        function.__name__: function
        for function in (launch, launch_at, ask, last_launch, current_device, diagnosis)
    }
    while True:
        try:
            name, arguments, options, environment = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        os.environ.update(environment)
        pickle.dump(answer(functions[name], *arguments, **options), answers)
        answers.flush()
        for variable in environment:
            del os.environ[variable]


if __name__ == "__main__":
    main()
