"""Translates PTX instructions to C++ statements. Each imported module registers a family of instructions."""

from __future__ import annotations

from . import arithmetic, bits, control, memory, tensor_core  # noqa: F401
from .instruction import FIXED, HANDLERS, Instruction
from .operands import Kernel, UnsupportedError


def translate_instruction(kernel: Kernel, opcode: str, operands: list[str]) -> str:
    """The C++ statement of one instruction.

    Raises:
        UnsupportedError: The instruction is unknown.
    """
    name, *words = opcode.split(".")
    if name in FIXED:
        return FIXED[name]
    if name not in HANDLERS:
        raise UnsupportedError(opcode)
    try:
        return HANDLERS[name](Instruction(kernel, name, words, operands))
    except (KeyError, IndexError, TypeError) as error:
        raise UnsupportedError(f"{opcode} {', '.join(operands)}") from error
