"""The CUDA kernels: the parameters in their mangled names, and figures from their machine code."""

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
    """An instance of a kernel template.

    For the SRU `sru_*_kernel<S, columns, in_ring, v_varies>` or `sru_*_team_kernel<S, threads>`; for other
    cells `kernel<S>` or `kernel<S, option>`.
    """

    function: str
    dtype: str
    columns: int = 1  # per thread
    in_ring: bool = False  # whether steps are read through a ring in shared memory
    v_varies: bool = False  # whether each position has its own v
    threads: int = 1  # per column
    option: bool = False

    @staticmethod
    def named(text: str) -> CudaKernel:
        """The kernel of the first mangled name in a text.

        Raises:
            ValueError: The text contains none.
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
        """The sizes of the storage type and the accumulation type, in bytes."""
        stored = STORAGE[self.dtype]
        return stored, max(stored, 4)

    def read(self) -> int:
        """Bytes that a step must read per column, for K = 3 with x: u and x, and in backward grad_h and c."""
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
        """The loops over time, and the number of threads per column in each; `Turn.steps` is per column.

        There is one loop, except in forward teams, where one thread computes the chain of states and the
        others write the outputs.

        Raises:
            ValueError: The number of steps per iteration of the main loop is not an integer.
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
        """Figures of the machine code per step of a column.

        Args:
            code: The machine code.
            latencies: Latencies of global memory in cycles, by name; the result has cycles per step for each.
            in_small_block: Whether the block has at most half the largest size, which makes rings longer.
        """
        turns = self.turns(code, in_small_block)
        return {
            "steps": turns[0][0].steps,  # per iteration: a group, a chunk or a tile
            "steps_ahead": min(turn.steps_ahead for turn, _ in turns),
            "instructions": sum(turn.instructions * threads for turn, threads in turns),
            "cycles": turns[0][0].cycles,
            **{name: max(turn.step_time(cycles) for turn, _ in turns) for name, cycles in latencies.items()},
        }

    def chunk_bytes(self, key_size: int, value_size: int) -> int:
        """Bytes of a chunk of steps of a gated linear state, which a block copies at a time."""
        stored, accumulated = self.sizes
        values = 1 if self.function == "gated_linear_forward" else 2  # v, and grad_o
        step = key_size * (2 * stored + accumulated) + values * value_size * stored
        return 64 // accumulated * step

    def row(self) -> dict[str, object]:
        """The kernel as JSON."""
        return asdict(self)
