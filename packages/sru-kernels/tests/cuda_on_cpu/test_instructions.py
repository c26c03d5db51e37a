"""Correct and incorrect uses of asynchronous copies, grid barriers and warp instructions."""

import numpy as np
import pytest

from .probes import build
from .toolkit import find_toolkit

pytestmark = [pytest.mark.cuda, pytest.mark.parametrize("engine", ["source-tsan", "ptx"])]


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    toolkit = find_toolkit()
    if toolkit is None:
        pytest.skip("nvcc is not on PATH, and CUDACXX is not set")
    return build(toolkit, tmp_path_factory.mktemp("probes"))


def numbers(*shape):
    return np.random.default_rng(7).standard_normal(shape, np.float32)


@pytest.mark.parametrize(
    ("name", "threads", "width"),
    [
        ("ring_of_16_bytes", 32, 4),
        ("ring_of_8_bytes", 32, 2),
        ("ring_of_4_bytes", 32, 1),
        ("ring_of_a_block", 64, 4),
        ("ring_of_a_lane", 32, 4),  # needs no barrier
    ],
)
def test_a_ring_that_waits_correctly(probe, engine, name, threads, width):
    steps = numbers(9, threads, width)
    read, errors = probe(engine, name, steps, threads)
    assert not errors
    np.testing.assert_array_equal(read.reshape(steps.shape), steps)


@pytest.mark.parametrize(
    ("name", "threads", "is_race"),
    [
        ("waits_for_too_few", 32, True),
        ("waits_without_syncwarp", 32, True),
        ("shuffle_for_syncwarp", 32, True),
        ("syncwarp_for_syncthreads", 64, True),
        ("refills_what_others_read", 32, True),
        ("no_groups_at_the_end", 32, False),  # so that the last waits do not wait
    ],
)
def test_a_ring_that_reads_too_early(probe, engine, name, threads, is_race):
    read, errors = probe(engine, name, numbers(9, threads, 4), threads)
    if engine == "ptx" or not is_race:
        assert np.isnan(read).any()
    else:
        assert "data race" in errors


def test_bytes_beyond_the_source_are_zeros(probe, engine):
    rows = numbers(17, 4)
    read, _ = probe(engine, "zero_fill", rows)
    taken = np.arange(16) < np.arange(17)[:, None]
    np.testing.assert_array_equal(
        read.view(np.uint8).reshape(17, 16), np.where(taken, rows.view(np.uint8).reshape(17, 16), 0)
    )


def test_a_misaligned_copy(probe, engine):
    assert "misaligned access of cp.async" in probe(engine, "misaligned", numbers(8))[1]


@pytest.mark.parametrize("blocks", [2, 5])
def test_blocks_that_wait_for_each_other(probe, engine, blocks):
    steps = numbers(5, blocks, 32)
    handed_on, errors = probe(engine, "grid_waits", steps, 32, blocks)
    assert not errors
    expected = np.stack([np.roll(steps[0], -step, axis=0) for step in range(5)])
    np.testing.assert_array_equal(handed_on.reshape(steps.shape), expected)


def test_blocks_that_do_not_wait(probe, engine):
    """Only the race detector always detects it."""
    if engine == "source-tsan":
        assert "data race" in probe(engine, "grid_goes_on", numbers(5, 3, 32), 32, 3)[1]


LANES = np.arange(32)
GROUP, PLACE = LANES // 4, LANES % 4


def halves(matrix, rows, columns):
    """Pairs of 16-bit elements, adjacent in the last axis of `columns`, as words."""
    return matrix[rows[:, None], columns].astype(matrix.dtype).view(np.uint32)[:, 0]


def bfloat16(values):
    """Round to bfloat16; return the bits, and the same numbers as float32."""
    bits = values.view(np.uint32)
    bits = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def of_lanes(matrix):
    """The elements of a 16 x 8 sum that each lane holds."""
    return np.stack(
        [matrix[GROUP + 8 * high, 2 * PLACE + odd] for high in (0, 1) for odd in (0, 1)], axis=1
    ).astype(np.float32)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_products_of_half_types(probe, engine, dtype):
    a, b, c = numbers(16, 16), numbers(16, 8), numbers(16, 8)
    if dtype == "f16":
        stored_a, stored_b = a.astype(np.float16), b.astype(np.float16)
        a, b = stored_a, stored_b
    else:
        (stored_a, a), (stored_b, b) = bfloat16(a), bfloat16(b)
    pair = 2 * PLACE[:, None] + [0, 1]
    fragments_a = [halves(stored_a, GROUP + 8 * low, pair + 8 * right) for right in (0, 1) for low in (0, 1)]
    fragments_b = [halves(np.ascontiguousarray(stored_b.T), GROUP, pair + 8 * low) for low in (0, 1)]
    check_product(probe, engine, f"mma_{dtype}", fragments_a + fragments_b, a, b, c)


def test_products_of_tf32(probe, engine):
    a, b, c = numbers(16, 8), numbers(8, 8), numbers(16, 8)
    fragments_a = [a[GROUP + 8 * low, PLACE + 4 * right] for right in (0, 1) for low in (0, 1)]
    fragments_b = [b[PLACE + 4 * low, GROUP] for low in (0, 1)]
    words = [word.view(np.uint32) for word in fragments_a + fragments_b]

    def rounded(values):
        return ((values.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)

    check_product(probe, engine, "mma_tf32", words, rounded(a), rounded(b), c)


def check_product(probe, engine, name, fragments, a, b, c):
    inputs = np.concatenate([np.stack(fragments, axis=1), of_lanes(c).view(np.uint32)], axis=1)
    result, errors = probe(engine, name, np.ascontiguousarray(inputs))
    assert not errors
    expected = of_lanes(a.astype(np.float64) @ b.astype(np.float64) + c)
    np.testing.assert_allclose(result[:128].reshape(32, 4), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "count", "transposed"),
    [("ldmatrix_x1", 1, False), ("ldmatrix_x2_trans", 2, True), ("ldmatrix_x4", 4, False)],
)
def test_matrices_from_shared_memory(probe, engine, name, count, transposed):
    matrices = numbers(4, 8, 4).view(np.uint16).reshape(4, 8, 8)
    result, errors = probe(engine, name, matrices)
    assert not errors
    taken = matrices[:count].transpose(0, 2, 1) if transposed else matrices[:count]
    # Lane 4 row + k gets elements 2 k and 2 k + 1 of a row.
    expected = taken.reshape(count, 32, 2).transpose(1, 0, 2)
    np.testing.assert_array_equal(result.view(np.uint16)[: 64 * count].reshape(32, count, 2), expected)
