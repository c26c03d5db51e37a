"""Figures from one iteration of a loop: how far it reads ahead, and how long a step takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .machine_code import Code, Instruction

NO_SCOREBOARD = 7
# Latencies in cycles of variable-latency instructions that do not access global memory. Assumed: roughly the
# results of microbenchmarks on Ampere and Hopper.
LATENCIES = {"LDS": 30, "SHFL": 25}
OTHER_LATENCY = 20
MOST_GROUPS = 64
PRODUCTS = ("HMMA", "FFMA", "FFMA2", "DFMA")


@dataclass(frozen=True)
class Turn:
    """One iteration of a loop, in which a thread computes `steps` time steps.

    `left` overrides the number of groups of copies that the waits allow in flight: a kernel has two waits, of
    which the block size selects one.
    """

    path: Sequence[Instruction]
    steps: int
    left: int | None = None

    @property
    def instructions(self) -> float:
        """Instructions per step."""
        return len(self.path) / self.steps

    @property
    def cycles(self) -> float:
        """Cycles per step to issue the instructions of a warp that never waits."""
        return sum(one.cycles for one in self.path) / self.steps

    @cached_property
    def has_copies(self) -> bool:
        """Whether steps are copied to shared memory instead of read into registers."""
        return any(one.name == "LDGSTS" for one in self.path)

    @property
    def steps_ahead(self) -> float:
        """The read-ahead distance: the minimum number of issue cycles from a read to its wait, in steps."""
        wanted = "LDGSTS" if self.has_copies else "LDG"
        reads = [k for k, one in enumerate(self.path) if one.name == wanted]
        waits = [self._cycles_until_wait(k) for k in reads]
        return min(cycles for cycles in waits if cycles is not None) / self.cycles

    def _cycles_until_wait(self, read: int) -> int | None:
        """Issue cycles from a read to the first instruction that waits for it.

        None if that is another read under the opposite condition, which replaces this one.
        """
        length = len(self.path)
        one, cycles, groups = self.path[read], self.path[read].cycles, -1
        for k in range(read + 1, MOST_GROUPS * length):
            other = self.path[k % length]
            if one.name == "LDG":
                if other.waits_for(one.writes):
                    return None if one.is_conditional and other.name == "LDG" else cycles
            elif other.name == "LDGDEPBAR":
                groups += 1  # committed after the group of this copy
            elif groups >= 0 and (left := self._groups_left(other)) is not None and left <= groups:
                return cycles
            cycles += other.cycles
        raise ValueError(f"nothing waits for {one.text}")

    def step_time(self, latency: float) -> float:
        """Cycles per step of a single warp, if an access to global memory takes `latency` cycles."""
        # At least as many iterations as groups in flight, because one wait may stall for all of them.
        turns = 1 + max((left for *_, left, _ in self._plan if left is not None), default=1)
        return (self._time(4 * turns, latency) - self._time(2 * turns, latency)) / (2 * turns * self.steps)

    def _time(self, turns: int, latency: float) -> float:
        """Cycles of some iterations, issued in order."""
        now = arrived = 0.0  # `arrived`: when all copies of the uncommitted group have arrived
        free = [0.0] * (NO_SCOREBOARD + 1)
        groups: list[float] = []
        for name, writes, waits, left, cycles in turns * self._plan:
            for scoreboard in waits:
                now = max(now, free[scoreboard])
            if left is not None and len(groups) > left:
                now = max(now, groups[-left - 1])
            if name == "LDGSTS":
                arrived = now + latency
            elif name == "LDGDEPBAR":
                groups.append(arrived)
            elif writes != NO_SCOREBOARD:
                takes = latency if name == "LDG" else LATENCIES.get(name, OTHER_LATENCY)
                free[writes] = max(free[writes], now + takes)
            now += cycles
        return now

    @cached_property
    def _plan(self) -> list[tuple[str, int, tuple[int, ...], int | None, int]]:
        """The properties of the path that affect its issue. A read that another replaces does not count."""
        plan = []
        for k, one in enumerate(self.path):
            is_none = one.name == "LDG" and self._cycles_until_wait(k) is None
            writes = NO_SCOREBOARD if is_none else one.writes
            waits = tuple(filter(one.waits_for, range(NO_SCOREBOARD)))
            plan.append((one.name, writes, waits, self._groups_left(one), one.cycles))
        return plan

    def _groups_left(self, one: Instruction) -> int | None:
        found = groups_left(one)
        return found if found is None or self.left is None else self.left


def share_during_copies(code: Code) -> float:
    """The share of the products that may be issued between the start of copies and the wait for them."""
    products = {k for k, one in enumerate(code.instructions) if one.name in PRODUCTS}
    during: set[int] = set()
    for k, one in enumerate(code.instructions):
        if one.name == "LDGDEPBAR":
            during |= code.between(k, lambda other: groups_left(other) == 0)
    return len(products & during) / len(products)


def products_during_reads(code: Code) -> int:
    """The number of products that may be issued between a 16-byte read into registers and the wait for it."""
    during: set[int] = set()
    for k, one in enumerate(code.instructions):
        if one.name == "LDG" and one.size == 16:
            during |= code.between(k, lambda other, scoreboard=one.writes: other.waits_for(scoreboard))
    names = [code.instructions[k].name for k in during]
    return sum((1 + (name == "FFMA2")) * (name in PRODUCTS) for name in names)


def groups_left(one: Instruction) -> int | None:
    """The number of groups of copies that may be in flight after a wait; None for other instructions."""
    found = re.search(r"DEPBAR\.LE SB\d, 0x([0-9a-f]+)", one.text)
    return int(found[1], 16) if found else None
