"""The parser of machine code, on synthetic listings."""

import pytest

from ..support.cuda_kernels import CudaKernel
from ..support.machine_code import read_kernels
from ..support.read_ahead import Turn, share_during_copies

BACK = "@P0 BRA `(.L_x_1)"


def op(text, stall=1, writes=7, waits=()):
    """Two lines of a listing: an instruction, with the scheduling bits at the end of its second word."""
    bits = (stall | writes << 5 | sum(1 << scoreboard for scoreboard in waits) << 11) << 41
    return f"        /*0040*/                   {text} ;  /* 0x{7:016x} */\n  /* 0x{bits:016x} */"


def read(register, scoreboard=5, **options):
    return op(f"LDG.E.CONSTANT R{register}, desc[UR4][R2.64]", writes=scoreboard, **options)


def loop_of(*lines, steps=1):
    text = "\n".join([".text.first:", *lines, op("EXIT"), ".L_x_9:", op("BRA `(.L_x_9)")])
    (path,) = read_kernels(text)["first"].paths()
    return Turn(path, steps)


STEP = (op("FFMA R6, R5, R4, R6", 4), op("STG.E desc[UR4][R8.64], R6"))
READS = (read(4), read(5), read(6))
WAIT = op("MOV R7, R4", waits=[5])


def test_reads_with_a_wait_in_the_same_step():
    loop = loop_of(".L_x_1:", *READS, op("IADD3 R0, R0, 1, RZ", 3), WAIT, *STEP, op(BACK, 2))
    assert (loop.instructions, loop.cycles) == (8, 14)
    assert loop.steps_ahead == 4 / 14  # from the last read to the wait
    assert loop.step_time(100) == 100 + 14 - 4


def test_reads_of_the_next_chunk():
    """Two steps per iteration, with the wait for a chunk just before the reads of the next."""
    loop = loop_of(".L_x_1:", WAIT, *READS, *STEP, *STEP, op(BACK, 2), steps=2)
    assert loop.cycles == 8
    assert loop.steps_ahead == (16 - 3) / 8
    assert loop.step_time(100) == (100 + 3) / 2
    assert loop.step_time(5) == 8


def test_a_scoreboard_shared_with_another_read():
    """Waiting for the state of a reset also waits for the next chunk."""
    alone, shared = (
        loop_of(".L_x_1:", WAIT, *READS, op("MOV R7, R5", waits=[scoreboard]), *STEP, op(BACK))
        for scoreboard in (4, 5)
    )
    assert shared.steps_ahead == 1 / 11
    assert alone.steps_ahead == 8 / 11


COPY = (op("LDGSTS.E.BYPASS.128 [R0], desc[UR4][R2.64]", 2), op("LDGDEPBAR", 1, writes=0))


@pytest.mark.parametrize("left", [0, 6])
def test_groups_of_copies(left):
    """A group is waited for after `left` later groups are committed, one per iteration of 10 cycles."""
    loop = loop_of(".L_x_1:", op(f"DEPBAR.LE SB0, {left:#x}"), *COPY, *STEP, op(BACK))
    assert loop.cycles == 10
    assert loop.steps_ahead == left + 0.9
    assert loop.step_time(1000) == pytest.approx((1000 + 1) / (left + 1), abs=1)


def test_two_waits_selected_by_the_block_size():
    waits = (op("@P1 DEPBAR.LE SB0, 0x2"), op("@!P1 DEPBAR.LE SB0, 0x6"))
    lines = (".text.k:", ".L_x_1:", *waits, *COPY, *STEP, *STEP, op(BACK), op("EXIT"))
    code = read_kernels("\n".join(lines))["k"]
    ring = CudaKernel("sru_forward", "float32", in_ring=True)
    full, small = (ring.figures(code, {"100 ns": 100}, is_small) for is_small in (False, True))
    assert small["steps_ahead"] == pytest.approx(full["steps_ahead"] + 4)
    assert small["100 ns"] < full["100 ns"]


def test_products_while_copies_are_in_flight():
    """One product is computed between the wait and the next copies, three after these."""
    product, wait = op("HMMA.1684.F32.TF32 R4, R4, R6, R4"), op("DEPBAR.LE SB0, 0x0")
    for turn, share in (
        ((wait, product, *COPY, product, product, product), 0.75),
        ((product, *COPY, wait, product, product, product), 0.0),
    ):
        text = "\n".join([".text.k:", ".L_x_1:", *turn, op(BACK), op("EXIT")])
        assert share_during_copies(read_kernels(text)["k"]) == share


def test_a_read_without_a_wait():
    loop = loop_of(".L_x_1:", *READS, *STEP, op(BACK))
    with pytest.raises(ValueError, match="nothing waits for LDG"):
        _ = loop.steps_ahead


def test_rare_parts_are_left_out():
    """A read of one value behind a branch, an inner loop, and lanes that diverged before a shuffle."""
    rare = [
        *(op("@P1 BRA `(.L_x_2)"), read(30), op("MOV R6, R30", 9, waits=[5]), ".L_x_2:"),
        *(op("@P2 BRA `(.L_x_4)"), ".L_x_3:", op("FADD R0, R0, R1", 15), op("@P3 BRA `(.L_x_3)"), ".L_x_4:"),
        *(op("BRA.DIV UR4, `(.L_x_5)"), ".L_x_6:"),
    ]
    cold = (op("EXIT"), ".L_x_5:", op("WARPSYNC.ALL", 15), op("BRA `(.L_x_6)"))
    loop = loop_of(".L_x_1:", WAIT, *READS, *rare, *STEP, op(BACK), *cold)
    plain = loop_of(".L_x_1:", WAIT, *READS, *STEP, op(BACK))
    assert len(loop.path) == len(plain.path) + 3  # the branches themselves
    assert loop.cycles == plain.cycles + 3


@pytest.mark.parametrize("branch", ["@!P1 BRA `(.L_x_2)", "BRA P1, `(.L_x_2)", "BRA.U !UP1, `(.L_x_2)"])
def test_the_longest_path_is_taken(branch):
    loop = loop_of(".L_x_1:", WAIT, *READS, op(branch), op("MUFU.TANH R6, R6", 9), ".L_x_2:", *STEP, op(BACK))
    assert any(one.name == "MUFU" for one in loop.path)


def test_a_path_with_unconditional_reads_is_preferred():
    """The last steps are read one by one, each under a condition."""
    at_the_end = [op(f"@P{k} LDG.E.U8 R{k}, desc[UR4][R2.64]", 9, writes=5) for k in (4, 5, 6)]
    branch, go_on = op("@P1 BRA `(.L_x_2)"), op("BRA `(.L_x_3)")
    loop = loop_of(
        *(".L_x_1:", WAIT, branch, *READS, go_on, ".L_x_2:", *at_the_end, ".L_x_3:", *STEP, op(BACK))
    )
    assert [one.size for one in loop.path if one.name == "LDG"] == [4, 4, 4]


def test_two_conditional_reads_into_the_same_register():
    either = (
        op("@P1 LDG.E R4, desc[UR4][R2.64]", writes=3),
        op("@!P1 LDG.E R4, desc[UR4][R2.64]", waits=[3], writes=5),
    )
    loop = loop_of(".L_x_1:", WAIT, *either, *READS[1:], *STEP, op(BACK))
    assert loop.steps_ahead == 7 / 11
    assert loop.step_time(100) == 100 + 4


def test_loops_that_cannot_be_analysed():
    with pytest.raises(ValueError, match="no loop reads global memory and writes"):
        loop_of(".L_x_1:", *STEP, op(BACK))
    with pytest.raises(ValueError, match="a branch to a computed address: BRX R4"):
        loop_of(".L_x_1:", *READS, *STEP, op("BRX R4"))


def test_loops_are_ordered_by_bytes_read():
    first = (".L_x_1:", *READS, *STEP, op(BACK))
    second = (".L_x_2:", WAIT, *READS, *READS, *STEP, op("@P0 BRA `(.L_x_2)"))
    before = (".L_x_3:", *READS, *READS, *READS, op("@P0 BRA `(.L_x_3)"))  # writes nothing
    text = "\n".join([".text.first:", *first, *second, *before, op("EXIT")])
    assert [len(path) for path in read_kernels(text)["first"].paths()] == [10, 6]


SRU = "_ZN11sru_kernels6device3sru18sru_forward"
HALF = "_kernelINS0_4HalfE"


def test_kernels_from_mangled_names():
    ring = CudaKernel.named(f"{SRU}{HALF}Li8ELb1ELb0EEEvNS_10SruForwardE")
    assert ring == CudaKernel("sru_forward", "float16", 8, in_ring=True)
    assert (ring.read(), ring.written()) == (8, 6)
    varying = CudaKernel.named("_ZN3sru19sru_backward_kernelIdLi1ELb0ELb1EEEvNS_11SruBackwardE")
    assert varying == CudaKernel("sru_backward", "float64", v_varies=True)
    assert (varying.read(), varying.written()) == (64, 48)
    team = CudaKernel.named(f"{SRU}_team_kernelIfLi5EEEvNS_10SruForwardE")
    assert team == CudaKernel("sru_forward", "float32", threads=5)
    other = "_ZN11sru_kernels6device12gated_linear27gated_linear_forward_kernelI"
    assert CudaKernel.named(f"{other}dEEvNS_1A") == CudaKernel("gated_linear_forward", "float64")
    assert CudaKernel.named(f"{other}fLb1EEEv") == CudaKernel("gated_linear_forward", "float32", option=True)
    with pytest.raises(ValueError, match="no kernel of ours"):
        CudaKernel.named("main")


def test_steps_of_a_ring_are_counted_by_its_writes():
    ring = CudaKernel("sru_forward", "float32", in_ring=True)
    wait = op("DEPBAR.LE SB0, 0x2")
    code = read_kernels("\n".join([".text.k:", ".L_x_1:", wait, *COPY, *STEP, *STEP, op(BACK), op("EXIT")]))[
        "k"
    ]
    ((turn, threads),) = ring.turns(code)
    assert (turn.steps, threads) == (1, 1)
    assert ring.figures(code, {"0 ns": 0})["0 ns"] == turn.cycles == 15
    with pytest.raises(ValueError, match=r"the main loop takes 0\.5 steps"):
        CudaKernel("sru_forward", "float64", in_ring=True).turns(code)
