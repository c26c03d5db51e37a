"""Warp-wide matrix products, and the loads of their operands."""

from __future__ import annotations

from .instruction import Instruction, instruction
from .operands import CPP, UnsupportedError, split_operands


@instruction("mma")
def multiply(i: Instruction) -> str:
    *form, _, _, to, left, right, start = i.words
    kind = CPP.get(left)
    function = {
        "m16n8k16": f"mma_m16n8k16<{kind}>" if left in ("f16", "bf16") else None,
        "m16n8k8": "mma_m16n8k8_tf32" if left == "tf32" else None,
    }.get(form[-1])
    if function is None or left != right or (to, start) != ("f32", "f32"):
        raise UnsupportedError("mma." + ".".join(i.words))
    d, a, b, c = map(_registers, i.operands)
    operands = [", ".join(i.kernel.bits(name, 32) for name in names) for names in (a, b)]
    sums = ", ".join(i.kernel.value(name, "f32") for name in c)
    results = " ".join(i.kernel.assign(name, f"d_[{k}]", "f32") for k, name in enumerate(d))
    return (
        f"{{ uint32_t a_[4] = {{{operands[0]}}}, b_[2] = {{{operands[1]}}};"
        f" float c_[4] = {{{sums}}}, d_[4]; cushim::{function}(d_, a_, b_, c_); {results} }}"
    )


@instruction("ldmatrix")
def load_matrix(i: Instruction) -> str:
    targets = _registers(i.operands[0])
    if "m8n8" not in i.words or i.kind != "b16":
        raise UnsupportedError("ldmatrix." + ".".join(i.words))
    transposed = "true" if "trans" in i.words else "false"
    row = i.kernel.address(i.operands[1], "shared", 16)
    results = " ".join(f"{i.kernel.register(name)} = m_[{k}];" for k, name in enumerate(targets))
    form = f"{len(targets)}, {transposed}"
    return f"{{ uint32_t m_[{len(targets)}]; cushim::ldmatrix<{form}>(m_, {row}); {results} }}"


def _registers(operand: str) -> list[str]:
    return split_operands(operand.strip("{} "))
