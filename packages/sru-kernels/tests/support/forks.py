"""A process that runs a kernel, forks, and runs it again in the child and in a grandchild.

Usage: python forks.py CALLERS. Before the fork, CALLERS Python threads run the kernel, each with a team of
two threads; with 0, the main thread runs it. Exits with 0 if all processes compute the same.
"""

import os
import sys
import threading

import numpy as np

from sru_kernels import Activation, DType, SruForward, cpu

LENGTH, BATCH, SIZE = 64, 8, 512  # large enough for a second thread


def outputs():
    """Run the kernel; return the outputs and the last state as bytes."""
    u = np.linspace(-2, 2, LENGTH * BATCH * 3 * SIZE, dtype=np.float32)
    zeros = np.zeros(2 * SIZE, np.float32)
    h, c_last = np.empty(LENGTH * BATCH * SIZE, np.float32), np.empty(BATCH * SIZE, np.float32)
    sizes = {"length": LENGTH, "batch": BATCH, "hidden_size": SIZE, "num_directions": 1, "num_gates": 3}
    given = {"u": u, "v": zeros, "bias": zeros, "h": h, "c_last": c_last}
    absent = dict.fromkeys(("c0", "x", "mask_c", "marks", "c_reset", "cu_seqlens", "order", "c"), 0)
    addresses = {name: array.ctypes.data for name, array in given.items()}
    options = {"dtype": DType.float32, "activation": Activation.tanh, "scale_x": 1.0, "v_per_position": False}
    cpu.sru_forward(SruForward(**sizes, **options, **addresses, **absent), num_threads=2)
    return h.tobytes() + c_last.tobytes()


def run_in_child(work):
    """Run `work` in a child; return whether it returned true there."""
    child = os.fork()
    if child == 0:
        os._exit(0 if work() else 1)
    return os.waitpid(child, 0)[1] == 0


def main():
    callers = int(sys.argv[1])
    threads = [threading.Thread(target=outputs) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = [outputs()] if callers == 0 else []

    def same():
        results.append(outputs())
        return results[0] == results[-1]

    in_children = run_in_child(lambda: same() and run_in_child(same))
    sys.exit(0 if in_children and same() else 1)


if __name__ == "__main__":
    main()
