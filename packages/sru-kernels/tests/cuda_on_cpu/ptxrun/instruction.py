"""A PTX instruction, and the table of the functions that translate them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from .operands import WIDTH, Kernel


@dataclass
class Instruction:
    """`name.word.word operand, operand`; the last word is the type, `kind`."""

    kernel: Kernel
    name: str
    words: list[str]
    operands: list[str]

    @property
    def kind(self) -> str:
        return self.words[-1]

    @property
    def width(self) -> int:
        return WIDTH[self.kind]

    @cached_property
    def target(self) -> str:
        return self.kernel.register(self.operands[0])

    def one_of(self, *words: str) -> str | None:
        return next((word for word in self.words if word in words), None)

    def bits(self, index: int, width: int | None = None) -> str:
        return self.kernel.bits(self.operands[index], width or self.width)

    def value(self, index: int, kind: str | None = None) -> str:
        return self.kernel.value(self.operands[index], kind or self.kind)

    def assign(self, expression: str, kind: str | None = None) -> str:
        return self.kernel.assign(self.operands[0], expression, kind or self.kind)


Handler = Callable[[Instruction], str]
HANDLERS: dict[str, Handler] = {}
FIXED: dict[str, str] = {}  # instructions whose translation does not depend on their operands


def instruction(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register
