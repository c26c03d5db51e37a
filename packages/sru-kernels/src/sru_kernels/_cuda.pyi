from .sru import SruBackward, SruForward

# Typed for mypy; `cuda.py` is where these are public and documented. Absent from a build without CUDA.

toolkit: str  # such as "13.0"
architectures: str  # a word each: "sm_75" for machine code, "compute_120" for PTX
runtime: str  # "static" or "shared"

def driver_version() -> int:
    """Return the newest CUDA that the driver supports, such as 13000 for 13.0; 0 without a driver."""

def devices() -> list[tuple[str, tuple[int, int], int, int]]:
    """Return name, compute capability, multiprocessors and bytes of memory of every device.

    Raises:
        sru_kernels.cuda.Error: CUDA sees no device or does not start.
    """

def sru_forward(args: SruForward, device: int, stream: int, columns_per_thread: int) -> None:
    """Run `sru_kernels.cuda.sru_forward`."""

def sru_backward(args: SruBackward, device: int, stream: int, columns_per_thread: int) -> None:
    """Run `sru_kernels.cuda.sru_backward`."""
