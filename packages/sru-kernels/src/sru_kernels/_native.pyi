from typing import TypedDict

class BuildInfo(TypedDict):
    version: str
    compiler: str
    cxx_standard: int
    instruction_set: str
    cuda: None

def build_info() -> BuildInfo:
    """Say what the extension was built with and found on this machine.

    Returns:
        `version` of this package; `compiler` name and version; `cxx_standard`, such as 17; `instruction_set`,
        the widest of "baseline", "avx2" and "avx512" that this processor runs; `cuda`, None because this
        version holds no CUDA kernels.
    """
