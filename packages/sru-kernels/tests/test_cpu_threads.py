"""What threads may not change."""

import numpy as np
import pytest

from .support.engines import cpu_engine
from .support.kernels import Kernels


@pytest.mark.parametrize("storage", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("size", [(33, 4, 257), (3000, 1, 17), (20, 700, 3)])
def test_the_number_of_threads_does_not_change_a_bit(case, size, storage):
    given = case(*size, num_directions=2, activation="tanh", storage=storage)
    alone = Kernels(cpu_engine(num_threads=1))
    expected = alone.forward(given)
    grads = alone.backward(given, expected["c"])
    for num_threads in (2, 3):
        kernels = Kernels(cpu_engine(num_threads))
        for name, value in {**kernels.forward(given), **kernels.backward(given, expected["c"])}.items():
            np.testing.assert_array_equal(value, {**expected, **grads}[name])
