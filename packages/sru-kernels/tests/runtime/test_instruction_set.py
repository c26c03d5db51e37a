import os
import subprocess
import sys
from pathlib import Path

import pytest

from sru_kernels import cpu

SETS = ("baseline", "avx2", "avx512", "avx512_bf16")
VARIABLE = "SRU_KERNELS_INSTRUCTION_SET"


def run_with(instruction_set: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, VARIABLE: instruction_set}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def widest() -> str:
    """The default set, which an empty variable selects."""
    return run_with("", "-c", "from sru_kernels import cpu; print(cpu.instruction_set())").stdout.strip()


@pytest.mark.parametrize("name", SETS)
def test_kernels_pass_their_tests_with_every_set_of_this_processor(name):
    if SETS.index(name) > SETS.index(widest()):
        pytest.skip(f"this processor has no {name}")
    if name == cpu.instruction_set():
        pytest.skip(f"the other tests of this run use {name}")
    cells = Path(__file__).parents[1] / "cells"
    tests = [str(Path(__file__).with_name("test_math.py")), str(cells)]
    if {name, cpu.instruction_set()} == {"avx512", "avx512_bf16"}:
        tests = [str(cells / "ligru")]  # the only cell that differs between them
    # Argument checks and the schedule of threads are compiled once for all sets.
    once = ("--ignore", str(cells / "test_arguments.py"), "-k", "not every_column_of_every_step")
    check = f"from sru_kernels import cpu; assert cpu.instruction_set() == {name!r}"
    assert run_with(name, "-c", check).returncode == 0
    run = run_with(name, "-m", "pytest", "-q", "-p", "no:cacheprovider", *once, *tests)
    assert run.returncode == 0, run.stdout[-4000:]


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_this_processor_lacks_is_refused(name):
    if SETS.index(name) <= SETS.index(widest()):
        pytest.skip(f"this processor has {name}")
    run = run_with(name, "-c", "from sru_kernels import cpu; cpu.instruction_set()")
    assert (
        f"ValueError: {VARIABLE}: this processor has no {name}; the widest set it runs is {widest()}"
        in run.stderr
    )


def test_an_unknown_set_is_an_error_at_first_use_not_at_import():
    program = """
import sru_kernels
for use in (sru_kernels.cpu.instruction_set, sru_kernels.build_info):
    try:
        use()
    except ValueError as error:
        print(error)
"""
    run = run_with("sse9", "-c", program)
    message = f'{VARIABLE} must be baseline, avx2, avx512 or avx512_bf16, got "sse9"; unset it to use the'
    assert run.stdout.count(message) == 2, run.stderr
