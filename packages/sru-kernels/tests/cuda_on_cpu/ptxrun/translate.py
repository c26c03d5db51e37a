"""Translates the PTX written by nvcc to C++ that runs on the fibers of the shim."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .instructions import translate_instruction
from .operands import UNSIGNED, WIDTH, Kernel, UnsupportedError, identifier, split_operands

PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr\s*(?:\.\w+\s*)*(?:\.align\s+\d+\s+)?)?([\w$]+)(?:\[(\d+)\])?"
)
ARRAY = re.compile(r"\.(?:shared|local)\s+\.align\s+(\d+)\s+\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?")
ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\(([^)]*)\)([^{]*)\{")
DYNAMIC_SHARED = re.compile(r"\.extern\s+\.shared\s+\.align\s+\d+\s+\.b8\s+([\w$]+)\[\s*\];")
STATEMENT = re.compile(r"(?:@(!?)([%\w$]+)\s+)?([a-z][\w.:]*)\s*(.*)")


def translate(sources: Sequence[str]) -> str:
    """A C++ file with the kernels of all sources and their table `ptxrun_entries`.

    Raises:
        UnsupportedError: A source contains something other than kernels, or an unknown instruction.
    """
    entries = [entry for source in sources for entry in _entries(_without_comments(source))]
    return "\n".join(
        [
            '#include "ptxrun.h"',
            *(code for _, code in entries),
            'extern "C" __attribute__((visibility("default"))) const ptxrun::Entry ptxrun_entries[] = {',
            *(f"    {row}," for row, _ in entries),
            "    {nullptr, nullptr, 0, 0, {}}};\n",
        ]
    )


def _without_comments(text: str) -> str:
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    return re.sub(r"\.section\s[^{]*\{[^}]*\}", "", text)


def _entries(text: str) -> list[tuple[str, str]]:
    if found := re.search(r"^\s*(?:\.\w+\s+)*\.(?:func|global|const)\b.*", text, flags=re.MULTILINE):
        raise UnsupportedError(f"device function or variable: {found[0].strip()}")
    dynamic = frozenset(DYNAMIC_SHARED.findall(text))
    result = []
    for found in ENTRY.finditer(text):
        kernel = Kernel(dynamic)
        sizes = _parameters(kernel, found[2])
        body = _Body(kernel, text[found.end() : _closing_brace(text, found.end())])
        result.append(_entry(found[1], found[3], sizes, body))
    return result


def _closing_brace(text: str, start: int) -> int:
    depth = 1
    for found in re.finditer(r"[{}]", text[start:]):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return start + found.start()
    raise UnsupportedError("missing closing brace of a kernel")


def _parameters(kernel: Kernel, text: str) -> list[tuple[int, int]]:
    """Assign an offset to every parameter; return offsets and sizes."""
    places, offset = [], 0
    for part in filter(None, map(str.strip, text.split(","))):
        found = PARAMETER.fullmatch(part)
        if not found:
            raise UnsupportedError(f"parameter {part}")
        size = WIDTH[found[2]] // 8
        offset = _aligned(offset, int(found[1] or size))
        kernel.parameters[found[3]] = offset
        places.append((offset, size * int(found[4] or 1)))
        offset += places[-1][1]
    return places


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _entry(name: str, directives: str, sizes: list[tuple[int, int]], body: _Body) -> tuple[str, str]:
    """The table row and the function of one kernel."""
    threads = 1024
    if found := re.search(r"\.maxntid\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?", directives):
        threads = int(found[1]) * int(found[2] or 1) * int(found[3] or 1)
    function = f"k_{identifier(name)}"
    shared = _aligned(body.shared, 16)
    places = ", ".join(f"{{{offset}, {size}}}" for offset, size in sizes)
    code = "\n    ".join(
        [
            f"static void {function}(const unsigned char* P) {{",
            f"[[maybe_unused]] constexpr uint32_t dynamic_shared = {shared};",
            "(void)P;",
            *body.code,
        ]
    )
    return f'{{"{name}", {function}, {shared}, {threads}, {{{places}}}}}', code + "\n}\n"


@dataclass
class _Body:
    """The statements of a kernel and the size of its shared memory."""

    kernel: Kernel
    text: str
    shared: int = 0
    code: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # A statement ends with a semicolon, a label with a colon; braces enclose blocks of registers.
        for found in re.finditer(
            r"\s*(?:([{}])|([\w$]+):(?!:)|([^;{}]*(?:\{[^;{}]*\}[^;{}]*)*);)", self.text
        ):
            brace, label, statement = found.groups()
            if brace:
                self.code.append(brace)
            elif label:
                self.code.append(f"{self.kernel.label(label)}:;")
            elif words := " ".join(statement.split()):
                self.code.append(self._statement(words))

    def _statement(self, text: str) -> str:
        if text.startswith(".reg"):
            return self._registers(text)
        if text.startswith((".shared", ".local")):
            return self._array(text)
        if text.startswith("."):
            if text.startswith((".pragma", ".loc")):
                return ""
            raise UnsupportedError(text)
        negated, guard, opcode, operands = STATEMENT.fullmatch(text).groups()
        code = translate_instruction(self.kernel, re.sub(r"::\w+", "", opcode), split_operands(operands))
        return f"if ({negated}{self.kernel.register(guard)}) {{ {code} }}" if guard else code

    def _registers(self, text: str) -> str:
        kind, names = re.fullmatch(r"\.reg\s+\.(\w+)\s+(.*)", text).groups()
        declared = []
        for name in map(str.strip, names.split(",")):
            if found := re.fullmatch(r"(.+)<(\d+)>", name):
                declared += [f"{found[1]}{k}" for k in range(int(found[2]))]
            else:
                declared.append(name)
        self.kernel.registers.update(dict.fromkeys(declared, WIDTH[kind]))
        return f"[[maybe_unused]] {UNSIGNED[WIDTH[kind]]} {', '.join(map(self.kernel.register, declared))};"

    def _array(self, text: str) -> str:
        alignment, kind, name, count = ARRAY.fullmatch(text).groups()
        size = WIDTH[kind] // 8 * int(count or 1)
        if text.startswith(".local"):
            self.kernel.local.add(name)
            return f"alignas({max(16, int(alignment))}) unsigned char l_{identifier(name)}[{size}];"
        offset = _aligned(self.shared, int(alignment))
        self.kernel.shared[name] = offset
        self.shared = offset + size
        return ""
