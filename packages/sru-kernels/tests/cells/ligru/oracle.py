"""The Li-GRU recurrence in NumPy, step by step, in the precision of its inputs, complex included."""

from __future__ import annotations

import numpy as np

from ...support.cases import from_bfloat16, to_bfloat16
from ...support.engines import Array
from .cases import Ligru


def steps_of(case: Ligru, direction: int) -> range:
    """The time steps of a direction, in its order; empty if the input is."""
    length = len(case.u) if case.u.size else 0
    return range(length) if direction == 0 else range(length - 1, -1, -1)


def activate(case: Ligru, a: Array) -> Array:
    if case.activation == "tanh":
        return np.tanh(a)
    if case.activation == "sin":
        return np.sin(a)
    return np.where(a.real > 0, a, 0.01 * a if case.activation == "leaky_relu" else 0 * a)


def slope(case: Ligru, a: Array) -> Array:
    if case.activation == "tanh":
        return 1 / np.cosh(a) ** 2
    if case.activation == "sin":
        return np.cos(a)
    return np.where(a > 0, 1.0, 0.01 if case.activation == "leaky_relu" else 0.0)


def terms(case: Ligru, values: Array) -> Array:
    """The factors of a product that are not weights."""
    return from_bfloat16(to_bfloat16(values)).astype(np.float64) if case.rounds_terms else values


def parts_of(case: Ligru, before: Array, t: int, direction: int) -> dict[str, Array]:
    """The intermediate results of a step from the states (B, D) before it."""
    product = np.einsum("bk,gdk->bgd", terms(case, before), case.weight)
    parts = {"products": product}
    if case.norm_eps is not None:
        center = product.mean((1, 2), keepdims=True)
        variance = ((product - center) ** 2).mean((1, 2), keepdims=True)
        parts["rstd"] = 1 / np.sqrt(variance + case.norm_eps)
        parts["products"] = product = (product - center) * parts["rstd"]
        product = product if case.norm_weight is None else product * case.norm_weight
        product = product if case.norm_bias is None else product + case.norm_bias
    real = ~case.padding()[t][:, None, None]
    a, z = np.moveaxis(np.where(real, case.u[t], 0) + product, 1, 0)
    mask = 1.0 if case.mask_h is None else case.by_direction(case.mask_h, len(before))[:, direction]
    return {**parts, "a": a, "z": 1 / (1 + np.exp(-z)), "mask": mask}


def oracle_forward(case: Ligru) -> dict[str, Array]:
    """Return the outputs of `ligru_forward`; at padding `products` and `rstd` are NaN."""
    length, batch, _, size = case.u.shape
    directions, padding = case.num_directions, case.padding()
    given = (case.u, case.weight, case.h0, case.h_reset, case.norm_weight, case.norm_bias)
    kind = np.result_type(*(array for array in given if array is not None))
    states = np.zeros((length, batch, directions, size), kind)
    found = {"products": np.full((length, batch, directions, 2, size), np.nan, kind)}
    if case.norm_eps is not None:
        found["rstd"] = np.full((length, batch, directions), np.nan, kind)
    last = case.by_direction(case.h0, batch).astype(kind)
    reset = case.by_direction(None if case.h_reset is None else case.h_reset[None], 1)
    for direction in range(directions):
        for t in steps_of(case, direction):
            before = np.where(case.starts()[t, :, direction], reset[:, direction], last[:, direction])
            parts = parts_of(case, before, t, direction)
            after = parts["z"] * before + (1 - parts["z"]) * activate(case, parts["a"]) * parts["mask"]
            last[:, direction] = np.where(padding[t][:, None], before, after)
            states[t, :, direction] = last[:, direction]
            for name, array in found.items():
                array[t, ~padding[t], direction] = parts[name].reshape(batch, *array.shape[3:])[~padding[t]]
    states = states.reshape(length, batch, directions * size)
    h = np.where(padding[..., None], 0, states)
    return {"h": h, "h_last": last.reshape(batch, directions * size), "states": states, **found}


def oracle_backward(case: Ligru) -> dict[str, Array]:
    """Return the outputs of `ligru_backward`."""
    length, batch, _, size = case.u.shape
    directions, padding, starts = case.num_directions, case.padding(), case.starts()
    before = case.states_before(oracle_forward(case)["states"])
    grad_h = np.zeros((length, batch, directions, size))
    if case.grad_h is not None:
        grad_h = np.where(padding[..., None, None], 0, case.grad_h.reshape(grad_h.shape))
    grads = case.by_direction(case.grad_h_last, batch).copy()
    grad_sums = np.zeros((length, batch, directions, 2, size))
    grad_products, grad_h_reset = np.zeros_like(grad_sums), np.zeros_like(grads)
    for direction in range(directions):
        for t in reversed(steps_of(case, direction)):
            grad = grads[:, direction] + grad_h[t, :, direction]
            old, real = before[t, :, direction], ~padding[t][:, None]
            parts = parts_of(case, old, t, direction)
            z, mask = parts["z"], parts["mask"]
            of_a = grad * (1 - z) * slope(case, parts["a"]) * mask
            of_z = grad * (old - activate(case, parts["a"]) * mask) * z * (1 - z)
            of_sums = np.where(real[..., None], np.stack([of_a, of_z], 1), 0)
            of_product = of_sums
            if case.norm_eps is not None:
                normal = parts["products"]
                weighted = of_sums if case.norm_weight is None else of_sums * case.norm_weight
                aligned = (weighted * normal).mean((1, 2), keepdims=True)
                center = weighted.mean((1, 2), keepdims=True)
                of_product = parts["rstd"] * (weighted - center - normal * aligned)
            grad_sums[t, :, direction], grad_products[t, :, direction] = of_sums, of_product
            through = np.einsum("bgd,gdk->bk", terms(case, of_product), case.weight)
            grad = np.where(real, grad * z + through, grad)
            grad_h_reset[:, direction] += np.where(starts[t, :, direction], grad, 0)
            grads[:, direction] = np.where(starts[t, :, direction], 0, grad)
    found = {"grad_sums": grad_sums, "grad_h0": grads.reshape(batch, directions * size)}
    if case.norm_eps is not None:
        found["grad_products"] = grad_products
    if case.h_reset is not None:
        found["grad_h_reset"] = grad_h_reset.reshape(batch, directions * size)
    return found
