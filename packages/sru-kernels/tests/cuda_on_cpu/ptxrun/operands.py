"""Registers, constants and addresses of PTX as C++ expressions.

A PTX register has a width but no type; instructions define the types of their operands. In C++ a register is
an unsigned integer of that width, converted by `__builtin_bit_cast`, or by `as<float>(r)` and
`bits<uint32_t>(x)` of ptxrun.h if the widths differ. There are hundreds of thousands of statements, and
templates and calls take most of the time to compile and run them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

FLOATS = {"f16": 16, "bf16": 16, "f16x2": 32, "bf16x2": 32, "f32": 32, "f64": 64}
WIDTH = {"pred": 1, **FLOATS, **{f"{kind}{width}": width for kind in "bsu" for width in (8, 16, 32, 64)}}
CPP = {
    "pred": "bool",
    **{"f16": "H", "bf16": "BF", "f16x2": "H2", "bf16x2": "BF2", "f32": "float", "f64": "double"},
    **{f"{kind}{width}": f"uint{width}_t" for kind in "bu" for width in (8, 16, 32, 64)},
    **{f"s{width}": f"int{width}_t" for width in (8, 16, 32, 64)},
}
UNSIGNED = {1: "bool", **{width: f"uint{width}_t" for width in (8, 16, 32, 64)}}
BUILT_IN = {"tid": "threadIdx", "ntid": "blockDim", "ctaid": "blockIdx", "nctaid": "gridDim"}
SPECIAL = {
    "%laneid": "uint32_t(cushim::lane())",
    "%warpid": "(cushim::B->cur->lin / 32)",
    "%envreg1": "ptxrun::envreg(1)",
    "%envreg2": "ptxrun::envreg(2)",
    "%lanemask_lt": "((1u << cushim::lane()) - 1)",
    "%lanemask_le": "((2u << cushim::lane()) - 1)",
    "%lanemask_eq": "(1u << cushim::lane())",
    "%dynamic_smem_size": "ptxrun::dyn_smem",
}


class UnsupportedError(Exception):
    """PTX that this translator does not support."""


def identifier(name: str) -> str:
    return re.sub(r"\W", "_", name.lstrip("%").replace("$", "S"))


def split_operands(text: str) -> list[str]:
    """Split at commas outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += {"{": 1, "[": 1, "(": 1, "}": -1, "]": -1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


@dataclass
class Kernel:
    """The names declared in a kernel."""

    dynamic_shared: frozenset[str]  # arrays whose size is set at launch
    registers: dict[str, int] = field(default_factory=dict)  # widths
    parameters: dict[str, int] = field(default_factory=dict)  # offsets
    shared: dict[str, int] = field(default_factory=dict)  # offsets
    local: set[str] = field(default_factory=set)

    def register(self, name: str) -> str:
        return "r_" + identifier(name)

    def label(self, name: str) -> str:
        return "L_" + identifier(name)

    def bits(self, operand: str, width: int) -> str:
        """The operand as an unsigned integer of `width` bits."""
        kind = UNSIGNED[width]
        if operand.startswith("!"):
            return "!" + self.bits(operand[1:], width)
        if operand in self.registers:
            return self.register(operand)
        if operand in SPECIAL:
            return SPECIAL[operand]
        if found := re.fullmatch(r"0[fFdD]([0-9a-fA-F]+)", operand):  # a float as its bits
            return f"({kind}(0x{found[1]}ull))"
        if found := re.fullmatch(r"%(n?tid|n?ctaid)\.([xyz])", operand):
            return f"{BUILT_IN[found[1]]}.{found[2]}"
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", operand):
            return f"(({kind}){operand.rstrip('U')}{'ll' if operand[0] == '-' else 'ull'})"
        if found := re.fullmatch(r"([\w$.]+)\s*(?:\+\s*(-?\d+))?", operand):
            return f"(({kind})({self._symbol(found[1])} + {found[2] or 0}))"
        raise UnsupportedError(f"operand {operand}")

    def value(self, operand: str, kind: str) -> str:
        """The operand as a value of a PTX type."""
        text = self.bits(operand, WIDTH[kind])
        if kind not in FLOATS:
            return f"({CPP[kind]})({text})"
        if self.registers.get(operand, WIDTH[kind]) == WIDTH[kind]:
            return f"__builtin_bit_cast({CPP[kind]}, {text})"
        return f"as<{CPP[kind]}>({text})"

    def assign(self, target: str, expression: str, kind: str) -> str:
        """Assign a value of a PTX type to a register."""
        if target == "_":
            return ""
        name, width = self.register(target), self.registers[target]
        if kind == "pred":
            return f"{name} = {expression};"
        if width > WIDTH[kind]:  # a narrow load, sign- or zero-extended
            wide = f"{'' if kind[0] == 's' else 'u'}int{width}_t"
            return f"{name} = ({UNSIGNED[width]})({wide})({CPP[kind]})({expression});"
        if width == WIDTH[kind] and kind not in FLOATS:
            return f"{name} = ({CPP[kind]})({expression});"
        if width == WIDTH[kind]:
            return f"{name} = __builtin_bit_cast({UNSIGNED[width]}, ({CPP[kind]})({expression}));"
        return f"{name} = bits<{UNSIGNED[width]}>(({CPP[kind]})({expression}));"

    def address(self, operand: str, space: str, size: int) -> str:
        """The pointer for an access of `size` bytes, with a check of its alignment."""
        found = re.fullmatch(r"\[\s*([^\]+]+?)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
        if not found:
            raise UnsupportedError(f"address {operand}")
        base, offset = found[1], found[2] or "0"
        if space == "shared":
            wide = self.registers.get(base) == 64
            start = f"(uint32_t){self.register(base)}" if wide else self.bits(base, 32)
            return f"ptxrun::sh({start} + ({offset}), {size})"
        return f"ptxrun::chk({self.bits(base, 64)} + ({offset}ll), {size})"

    def _symbol(self, name: str) -> str:
        if name in self.shared:
            return f"{self.shared[name]}u"
        if name in self.dynamic_shared:
            return "dynamic_shared"
        if name in self.parameters:
            return f"(uint64_t)(P + {self.parameters[name]})"
        if name in self.local:
            return f"(uint64_t)l_{identifier(name)}"
        raise UnsupportedError(f"symbol {name}")
