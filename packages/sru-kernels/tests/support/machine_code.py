"""The machine code of a kernel, as listed by `nvdisasm -c -hex`, and the paths through its loops."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property

SECTION = re.compile(r"^\.text\.(\S+):")
LABEL = re.compile(r"^(\.L_\w+):")
FIRST_WORD = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;?\s*/\* 0x([0-9a-f]{16}) \*/")
SECOND_WORD = re.compile(r"^\s*/\* 0x([0-9a-f]{16}) \*/")
TARGET = re.compile(r"`\((\.L_\w+)\)")
STORES = ("STG", "STS")
BRANCHES = ("BRA", "BRX", "JMX", "EXIT", "RET")
SIZES = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16, "256": 32}


@dataclass(frozen=True)
class Instruction:
    """`@P0 LDG.E.128 R4, desc[UR4][R2.64]` and its scheduling bits, in the format of Volta to Blackwell."""

    text: str
    stall: int  # cycles before the next instruction can be issued
    writes: int  # the scoreboard held until the result is available; 7 for none
    waits: int  # a bit mask of the scoreboards that must be free

    @cached_property
    def words(self) -> list[str]:
        """The opcode and its modifiers."""
        return re.sub(r"^@\S+\s+", "", self.text).split()[0].split(".")

    @property
    def name(self) -> str:
        return self.words[0]

    @property
    def size(self) -> int:
        """The bytes that a memory access moves per thread."""
        return next((SIZES[word] for word in self.words if word in SIZES), 4)

    @property
    def is_conditional(self) -> bool:
        return self.text.startswith("@")

    @property
    def cycles(self) -> int:
        return max(self.stall, 1)

    def waits_for(self, scoreboard: int) -> bool:
        return bool(self.waits >> scoreboard & 1)


def decode(text: str, low: int, high: int) -> Instruction:
    """Decode an instruction from its text and its two 64-bit words."""
    bits = (high << 64 | low) >> 105
    return Instruction(text, bits & 15, bits >> 5 & 7, bits >> 11 & 63)


def read_kernels(listing: str) -> dict[str, Code]:
    """The kernels of a listing, by mangled name."""
    found: dict[str, Code] = {}
    code = None
    pending = None
    for line in listing.splitlines():
        if match := SECTION.match(line):
            code = found.setdefault(match[1], Code())
        elif code is None:
            continue
        elif match := FIRST_WORD.match(line):
            pending = match[1], int(match[2], 16)
        elif (match := SECOND_WORD.match(line)) and pending:
            code.instructions.append(decode(*pending, int(match[1], 16)))
            pending = None
        elif match := LABEL.match(line):
            code.labels[match[1]] = len(code.instructions)
    return found


@dataclass
class Code:
    """The instructions of a kernel, and the positions of its labels."""

    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def paths(self) -> list[list[Instruction]]:
        """One iteration of each loop that reads global memory and writes, ordered by bytes read, most first.

        Of all paths through a loop, it is the one with the most unconditional reads, first per block and then
        in total, and among these the one that takes longest to issue. Rare parts are left out: inner loops,
        code for lanes that diverged before a shuffle (BRA.DIV), and blocks that read only one or two values
        into registers, such as the state of a reset, because a step reads more.

        Raises:
            ValueError: There is no such loop.
        """
        loops = self._loops()
        paths = []
        for header, body in loops.items():
            inner = {block for other, part in loops.items() if other in body - {header} for block in part}
            blocks = body - inner
            rare = {block for block in blocks if self._reads(block) in (1, 2)}
            path = self._longest(header, blocks - rare) or self._longest(header, blocks)
            paths.append([self.instructions[i] for start in path for i in self._block(start)])
        found = [path for path in paths if bytes_read(path) and any(one.name in STORES for one in path)]
        if not found:
            raise ValueError("no loop reads global memory and writes")
        return sorted(found, key=bytes_read, reverse=True)

    def between(self, start: int, is_end: Callable[[Instruction], bool]) -> set[int]:
        """The instructions that may be issued after `start` and before any for which `is_end` holds."""
        found: set[int] = set()
        waiting = [start + 1]
        while waiting:
            first = waiting.pop()
            if first in found:
                continue
            block = max(start for start in self._ends if start <= first)
            for k in range(first, self._ends[block]):
                if is_end(self.instructions[k]):
                    break
                found.add(k)
            else:
                waiting += self._next[block]
        return found

    @cached_property
    def _ends(self) -> dict[int, int]:
        """The end of each basic block, by its start."""
        branches = (i + 1 for i, one in enumerate(self.instructions) if one.name in BRANCHES)
        starts = sorted({0, *self.labels.values(), *branches, len(self.instructions)})
        return dict(itertools.pairwise(starts))

    @cached_property
    def _next(self) -> dict[int, list[int]]:
        return {start: [to for to in self._successors(start) if to in self._ends] for start in self._ends}

    def _block(self, start: int) -> range:
        return range(start, self._ends[start])

    def _reads(self, start: int) -> int:
        return sum(self.instructions[i].name == "LDG" for i in self._block(start))

    def _successors(self, start: int) -> Iterator[int]:
        end = self._ends[start]
        last = self.instructions[end - 1]
        if last.name in ("BRX", "JMX"):
            raise ValueError(f"a branch to a computed address: {last.text}")
        if last.name not in BRANCHES:
            yield end
            return
        # @P0 BRA, BRA P0, or BRA.U UP0, or two of these
        is_conditional = re.search(r"^@|\s!?U?P\d", last.text) is not None
        if is_conditional or "DIV" in last.words:
            yield end
        if last.name == "BRA" and "DIV" not in last.words:
            yield self.labels[TARGET.search(last.text)[1]]

    def _loops(self) -> dict[int, set[int]]:
        """The natural loops: the set of blocks of each, by its header."""
        loops: dict[int, set[int]] = {}
        dominators = self._dominators()
        before: dict[int, list[int]] = {}
        for start in dominators:
            for to in self._next[start]:
                before.setdefault(to, []).append(start)
        for start, above in dominators.items():
            for header in set(self._next[start]) & above:
                body, waiting = {header}, [start]
                while waiting:
                    block = waiting.pop()
                    if block not in body:
                        body.add(block)
                        waiting += before[block]
                loops.setdefault(header, set()).update(body)
        return loops

    def _dominators(self) -> dict[int, Set[int]]:
        """The dominators of every reachable block."""
        found: dict[int, Set[int]] = {0: {0}}
        waiting = [0]
        while waiting:
            start = waiting.pop()
            for to in self._next[start]:
                above = found[start] | {to} if to not in found else (found[start] & found[to]) | {to}
                if above != found.get(to):
                    found[to] = above
                    waiting.append(to)
        return found

    def _longest(self, header: int, blocks: set[int]) -> list[int]:
        """The blocks of the path from the header to itself that `paths` selects; empty if there is none."""
        best: dict[int, tuple[int, int, int, list[int]] | None] = {}

        def walk(start: int) -> tuple[int, int, int, list[int]] | None:
            if start not in best:
                best[start] = None
                ways = [walk(to) for to in self._next[start] if to in blocks and to != header]
                found = [way for way in ways if way is not None]
                if header in self._next[start]:
                    found.append((0, 0, 0, []))
                if found:
                    most, total, cycles, path = max(found)
                    instructions = [self.instructions[i] for i in self._block(start)]
                    sure = bytes_read([one for one in instructions if not one.is_conditional])
                    cycles += sum(one.cycles for one in instructions)
                    best[start] = (max(most, sure), total + sure, cycles, [start, *path])
            return best[start]

        way = walk(header)
        return [] if way is None else way[-1]


def bytes_read(path: Sequence[Instruction]) -> int:
    """Bytes of global memory that a thread reads on a path."""
    return sum(one.size for one in path if one.name in ("LDG", "LDGSTS"))
