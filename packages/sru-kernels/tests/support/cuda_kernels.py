"""The CUDA kernels: what their names say, and what their machine code does."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from .machine_code import Code
from .read_ahead import Turn, groups_left

NAME = re.compile(r"\d([a-z_]+?)(_team)?_kernelI(?:(f|d)|\w*?\d(Half|BFloat16)E)((?:L[ib]\d+E)*)E")
DTYPES = {"f": "float32", "d": "float64", "Half": "float16", "BFloat16": "bfloat16"}
STORAGE = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class CudaKernel:
    """A kernel: `sru_*_kernel<S, columns, in_ring, v_varies>`, `sru_*_team_kernel<S, threads>` or another.

    Others are `kernel<S>` or `kernel<S, option>`.
    """

    function: str
    dtype: str
    columns: int = 1  # of a thread
    in_ring: bool = False  # whether steps are read through a ring in shared memory
    v_varies: bool = False  # whether v belongs to the position
    threads: int = 1  # of a column
    option: bool = False

    @staticmethod
    def named(text: str) -> CudaKernel:
        """The kernel whose mangled name stands first in a text.

        Raises:
            ValueError: There is none.
        """
        found = NAME.search(text)
        if found is None:
            raise ValueError(f"no kernel of ours: {text[:200]}")
        function, team, letter, half, rest = found.groups()
        dtype = DTYPES[letter or half]
        numbers = [int(number) for number in re.findall(r"L[ib](\d+)E", rest)]
        if not function.startswith("sru_"):
            return CudaKernel(function, dtype, option=any(numbers))
        if team:
            return CudaKernel(function, dtype, threads=numbers[0])
        columns, in_ring, v_varies = numbers
        return CudaKernel(function, dtype, columns, bool(in_ring), bool(v_varies))

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the storage type and of the accumulation type."""
        stored = STORAGE[self.dtype]
        return stored, max(stored, 4)

    def read(self) -> int:
        """Bytes that a step must read per column, for K = 3 with x: u, x, and in backward grad_h and c."""
        stored, accumulated = self.sizes
        v = 2 * accumulated * self.v_varies
        return v + (4 * stored if self.function == "sru_forward" else 5 * stored + accumulated)

    def written(self) -> int:
        """Bytes that a step must write per column: h and the saved c, or grad_u and grad_x."""
        stored, accumulated = self.sizes
        if self.function == "sru_forward":
            return stored + accumulated
        return 4 * stored + 2 * accumulated * self.v_varies

    def turns(self, code: Code, in_small_block: bool = False) -> list[tuple[Turn, int]]:
        """The loops over time and the threads of a column that walk each; `Turn.steps` are those of a column.

        There is one, but in forward teams, where a thread walks the chain and the others write the outputs.

        Raises:
            ValueError: The main loop takes no whole number of steps.
        """
        main, *others = code.paths()
        has_chain = self.threads > 1 and self.function == "sru_forward"
        writing = others[0] if has_chain else main
        steps = sum(one.size for one in writing if one.name == "STG") / (self.columns * self.written())
        if steps < 1 or steps != int(steps):
            raise ValueError(f"{self}: the main loop takes {steps} steps")
        if has_chain:
            tile = int(steps) * (self.threads - 1)
            return [(Turn(main, tile), 1), (Turn(writing, tile), self.threads - 1)]
        left = None
        if self.in_ring:
            waits = [groups for one in code.instructions if (groups := groups_left(one)) is not None]
            left = max(waits) if in_small_block else min(waits)
        return [(Turn(main, int(steps) * self.threads, left), self.threads)]

    def figures(
        self, code: Code, latencies: dict[str, float], in_small_block: bool = False
    ) -> dict[str, float]:
        """What the machine code does per step of a column.

        Args:
            code: The kernel.
            latencies: Cycles until global memory answers, by name; so are the cycles of a step.
            in_small_block: Whether the block is at most half as large as it may be: rings are longer there.
        """
        turns = self.turns(code, in_small_block)
        return {
            "steps": turns[0][0].steps,  # in a turn of the loop: a group, a chunk or a tile
            "steps_ahead": min(turn.steps_ahead for turn, _ in turns),
            "instructions": sum(turn.instructions * threads for turn, threads in turns),
            "cycles": turns[0][0].cycles,
            **{name: max(turn.step_time(cycles) for turn, _ in turns) for name, cycles in latencies.items()},
        }

    def chunk_bytes(self, key_size: int, value_size: int) -> int:
        """Bytes of the steps of a gated linear state that a block copies at a time."""
        stored, accumulated = self.sizes
        values = 1 if self.function == "gated_linear_forward" else 2  # v, and grad_o
        step = key_size * (2 * stored + accumulated) + values * value_size * stored
        return 64 // accumulated * step

    def row(self) -> dict[str, object]:
        """The kernel as JSON."""
        return asdict(self)
