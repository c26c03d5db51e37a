"""What a user does with sru-kernels alone: ask what the build holds, with no torch in sight."""

from importlib.util import find_spec

import sru_kernels

info = sru_kernels.build_info()
assert info["version"] == sru_kernels.__version__, info
assert info["instruction_set"] in {"baseline", "avx2", "avx512"}, info
assert find_spec("torch") is None, "sru-kernels brought torch with it"
print(info)
