"""What registers, bytes and Little's law predict for a CUDA kernel, without timing anything."""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32
BLOCK = 128
REGISTERS = 65_536  # per multiprocessor, on every architecture here
REGISTER_UNIT = 256  # registers are allocated to a warp in multiples of this


@dataclass(frozen=True)
class Multiprocessor:
    """CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"."""

    warps: int
    blocks: int


MULTIPROCESSORS = {
    "75": Multiprocessor(32, 16),
    "80": Multiprocessor(64, 32),
    "86": Multiprocessor(48, 16),
    "89": Multiprocessor(48, 24),
    "90": Multiprocessor(64, 32),
    "100": Multiprocessor(64, 32),
    "110": Multiprocessor(48, 24),
    "120": Multiprocessor(48, 24),
}


@dataclass(frozen=True)
class Gpu:
    """A GPU with its vendor's figures; bandwidth in bytes per second."""

    name: str
    architecture: str
    multiprocessors: int
    bandwidth: float


GPUS = (
    Gpu("T4", "75", 40, 320e9),
    Gpu("A100 40 GB", "80", 108, 1555e9),
    Gpu("RTX 3090", "86", 82, 936e9),
    Gpu("RTX 4090", "89", 128, 1008e9),
    Gpu("H100 SXM", "90", 132, 3350e9),
    Gpu("B200", "100", 148, 8000e9),
    Gpu("RTX 5090", "120", 170, 1792e9),
)

STORAGE = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Kernel:
    """One compiled kernel, which reads `depth` steps ahead."""

    function: str  # sru_forward or sru_backward
    dtype: str
    columns: int
    depth: int

    @property
    def name(self) -> str:
        """The name on the page."""
        return (
            f"{self.function}, {self.dtype}, {'1 column' if self.columns == 1 else f'{self.columns} columns'}"
        )

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the storage type and of the accumulation type."""
        stored = STORAGE[self.dtype]
        return stored, max(stored, 4)

    def read(self) -> int:
        """Bytes that a step must read per column, for K = 3 with x: u, x, and in backward grad_h and c."""
        stored, accumulated = self.sizes
        return 4 * stored if self.function == "sru_forward" else 5 * stored + accumulated

    def written(self) -> int:
        """Bytes that a step must write per column: h and the saved c, or grad_u and grad_x."""
        stored, accumulated = self.sizes
        return stored + accumulated if self.function == "sru_forward" else 4 * stored

    def once(self) -> int:
        """Bytes per column that are moved once, not at every step.

        Forward: c0, mask_c, c_last, v and bias. Backward: c0, mask_c, grad_c_last, v, bias, the gradients of
        v, bias and c0, and the state after the last step again.
        """
        accumulated = self.sizes[1]
        return accumulated * (7 if self.function == "sru_forward" else 13)

    def moved(self, length: int, hidden_size: int) -> float:
        """Bytes moved per step and column, including the marks and everything moved once."""
        return self.read() + self.written() + self.once() / length + 1 / hidden_size

    def in_flight(self) -> int:
        """Bytes that a thread has requested and not yet used."""
        return self.depth * self.columns * self.read()


def resident_warps(registers: int, architecture: str) -> int:
    """Warps per multiprocessor, as limited by the registers and by the architecture."""
    limits = MULTIPROCESSORS[architecture]
    per_warp = -(-registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    per_block = BLOCK // WARP
    blocks = min(REGISTERS // per_warp // per_block, limits.blocks, limits.warps // per_block)
    return blocks * per_block


def is_wide(columns: int, width: int, multiprocessors: int) -> bool:
    """The launcher's rule: a wide kernel only if every multiprocessor still gets a block."""
    return columns // width >= BLOCK * multiprocessors


def fraction_of_bandwidth(kernel: Kernel, threads: int, gpu: Gpu, registers: int, latency: float) -> float:
    """Little's law: memory can be read at most at bytes in flight / latency.

    Reads and writes share the bandwidth, so the traffic that `r` bytes of reads per second allow is
    r · (read + written) / read.
    """
    most = resident_warps(registers, gpu.architecture) * WARP * gpu.multiprocessors
    reads = min(threads, most) * kernel.in_flight() / latency
    return min(1.0, reads * (kernel.read() + kernel.written()) / kernel.read() / gpu.bandwidth)
