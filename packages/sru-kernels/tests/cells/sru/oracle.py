"""The SRU in NumPy, step by step in float64. Gradients use complex steps instead of formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .cases import Array, Sru

PAD, FIRST, SECOND = 1, 2, 4  # marks: padding, and restarts of either direction


def sigmoid(z: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * z))  # does not overflow, and accepts complex numbers


def oracle_forward(case: Sru) -> tuple[Array, Array, Array]:
    """Return h, c and c_last in the precision of the inputs, complex included."""
    length, batch, num_gates, columns = case.u.shape
    given = (case.u, case.v, case.bias, case.c0, case.c_reset, case.x)
    dtype = np.result_type(*(array for array in given if array is not None))
    h = np.zeros((length, batch, columns), dtype)
    c = np.zeros((length, batch, columns), dtype)
    c_last = np.zeros((batch, columns), dtype)
    v = np.broadcast_to(case.v, (length, batch, 2, columns))
    mask = 1.0 if case.mask_c is None else case.mask_c
    c_reset = 0.0 if case.c_reset is None else case.c_reset
    marks = np.zeros((length, batch), np.uint8) if case.marks is None else case.marks
    half = columns // case.num_directions
    for direction in range(case.num_directions):
        own = slice(direction * half, (direction + 1) * half)
        state = np.zeros((batch, columns), dtype) if case.c0 is None else case.c0.astype(dtype)
        for t in range(length) if direction == 0 else reversed(range(length)):
            keep = marks[t, :, None] & PAD != 0
            starts = (marks[t, :, None] & (SECOND if direction else FIRST) != 0) & ~keep
            state = np.where(starts, c_reset, state)
            u = np.where(keep[:, None], 0.0, case.u[t])
            gates = [np.where(keep, 0.0, v[t, :, k]) * state + case.bias[k] + u[:, k + 1] for k in (0, 1)]
            f, r = sigmoid(gates[0]), sigmoid(gates[1])
            state = np.where(keep, state, f * state + (1 - f) * u[:, 0])
            g = state
            if case.activation == "tanh":
                g = np.tanh(state)
            elif case.activation == "relu":
                g = np.where(state.real < 0, 0.0, state)
            highway = 0.0
            if num_gates == 4:
                highway = u[:, 3]
            elif case.x is not None:
                highway = np.where(keep, 0.0, case.x[t]) * case.scale_x
            c[t, :, own] = state[:, own]
            h[t, :, own] = np.where(keep, 0.0, r * mask * g + (1 - r * mask) * highway)[:, own]
        c_last[:, own] = state[:, own]
    return h, c, c_last


def oracle_backward(case: Sru) -> dict[str, Array]:
    """Return every gradient by complex steps, which are exact up to rounding.

    Batch rows and columns are independent, so one perturbed run per remaining index gives the gradients for
    all of them.
    """
    step = 1e-100
    length, batch, num_gates, columns = case.u.shape
    zeros = {"c0": np.zeros((batch, columns)), "c_reset": np.zeros(columns)}

    def slope(name: str, index: tuple[object, ...]) -> Array:
        given = getattr(case, name)
        perturbed = (zeros[name] if given is None else given).astype(np.complex128)
        perturbed[index] += 1j * step
        h, _, c_last = oracle_forward(replace(case, **{name: perturbed}))
        loss = np.zeros(c_last.shape, np.complex128)
        if case.grad_h is not None:
            padded = False if case.marks is None else case.marks[:, :, None] & PAD != 0
            loss += (np.where(padded, 0.0, case.grad_h) * h).sum(0)
        if case.grad_c_last is not None:
            loss += case.grad_c_last * c_last
        return loss.imag / step

    def slope_of_rows(name: str, rows: int) -> Array:
        slopes = [slope(name, (t, slice(None), row)) for t in range(length) for row in range(rows)]
        return np.array(slopes).reshape(length, rows, batch, columns).swapaxes(1, 2)

    grads = {
        "grad_u": slope_of_rows("u", num_gates),
        "grad_bias": np.array([slope("bias", (k,)) for k in (0, 1)]),
        "grad_c0": slope("c0", ()),
        "grad_c_reset": slope("c_reset", ()),
        "grad_v": slope_of_rows("v", 2) if case.v.ndim == 4 else np.array([slope("v", (k,)) for k in (0, 1)]),
    }
    if case.x is not None:
        grads["grad_x"] = np.array([slope("x", (t,)) for t in range(length)]).reshape(length, batch, columns)
    return grads
