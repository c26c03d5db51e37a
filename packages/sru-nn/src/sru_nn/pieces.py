"""Where sequences begin and end: marks, offsets and the layouts of several sequences in one tensor.

A row of a batch may hold several sequences, one after another, called its pieces, which begin at resets.
Sequences of different lengths may also be concatenated without a batch; `cu_seqlens` then holds their ends.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn.operators import define, is_transformed

PAD, FIRST, SECOND = 1, 2, 4
"""The bits of `marks`: padding, a restart of the first direction, a restart of the second direction."""


def marks(mask_pad: Tensor | None, reset: Tensor | None, bidirectional: bool) -> Tensor | None:
    """Mark each position that is padding or where a direction restarts.

    The first direction restarts at a reset. The second runs backwards and restarts at the last real position
    of a piece, before the next reset. A reset at a padded position is ignored.

    Args:
        mask_pad: `(T, B)` bool, True at padding; or None.
        reset: `(T, B)` bool, True where a sequence begins; or None.
        bidirectional: Whether there is a second direction.

    Returns:
        `(T, B)` uint8, the sum of `PAD`, `FIRST` and `SECOND` where they apply; None if both masks are None.
    """
    if reset is None:
        return None if mask_pad is None else mask_pad.to(torch.uint8)
    found = reset.to(torch.uint8) * FIRST
    if bidirectional:
        found = found + _is_followed_by_reset(mask_pad, reset).to(torch.uint8) * SECOND
    return found if mask_pad is None else found.masked_fill(mask_pad, PAD)


def _is_followed_by_reset(mask_pad: Tensor | None, reset: Tensor) -> Tensor:
    """Return whether the next real position is a reset; arbitrary at padding."""
    # Not reset[1:] and an edge, for which a graph would check whether T - 1 is one.
    if mask_pad is None:
        return torch.cat([reset, torch.zeros_like(reset[:1])])[1:]
    length = reset.shape[0]
    # The resets of the real positions only, in order; those at padding go after the last.
    count = (~mask_pad).cumsum(0)
    places = torch.where(mask_pad, length, count - 1)
    resets = reset.new_zeros(length + 1, reset.shape[1]).scatter(0, places, reset & ~mask_pad)
    return resets.gather(0, count)


def padding(marks: Tensor) -> Tensor:
    """Return `(T, B)` bool from `marks`, True at padding."""
    return marks if marks.dtype == torch.bool else (marks & PAD).bool()


def starts(marks: Tensor, second: bool) -> Tensor:
    """Return `(T, B)` bool from `marks`, True where the first or the `second` direction restarts."""
    return (marks & (SECOND if second else FIRST)).bool()


def piece_ids(reset: Tensor, mask_pad: Tensor | None) -> Tensor:
    """Number the pieces of each row from 0, or from 1 if its first position is a reset.

    Args:
        reset: `(T, B)` bool, True where a sequence begins.
        mask_pad: `(T, B)` bool, True at padding, where a reset is ignored; or None.

    Returns:
        `(T, B)` int64, the number of the piece that each position belongs to.
    """
    return (reset if mask_pad is None else reset & ~mask_pad).cumsum(0)


def sequence_numbers(cu_seqlens: Tensor, total: int) -> Tensor:
    """Return `(total,)` int64, the index of the sequence that each position belongs to."""
    return torch.bucketize(torch.arange(total, device=cu_seqlens.device), cu_seqlens, right=True) - 1


def sequence_marks(cu_seqlens: Tensor, total: int) -> Tensor:
    """Return `marks` `(total, 1)` of both directions for concatenated sequences."""
    numbers = sequence_numbers(cu_seqlens, total).unsqueeze(1)
    edge = torch.full_like(numbers[:1], -1)
    around = torch.cat([edge, numbers, edge])
    first, second = numbers != around[:-2], numbers != around[2:]
    return first.to(torch.uint8) * FIRST + second.to(torch.uint8) * SECOND


def last_states(states: Tensor, initial: Tensor, cu_seqlens: Tensor, second: bool = False) -> Tensor:
    """Return the state after each of several concatenated sequences.

    Args:
        states: `(total, 1, ...)`, the states after each position.
        initial: `(S, ...)`, the states before the sequences, which are also those after empty sequences.
        cu_seqlens: `(S + 1,)`.
        second: Whether the states are of the second direction, which ends at the first position.

    Returns:
        `(S, ...)`.
    """
    begins, ends = cu_seqlens[:-1], cu_seqlens[1:]
    numbers = torch.arange(initial.shape[0], device=initial.device)
    places = torch.where(begins == ends, states.shape[0] + numbers, begins if second else ends - 1)
    return torch.cat([states.squeeze(1), initial]).index_select(0, places)


def pad_out(cu_seqlens: Tensor, *tensors: Tensor, length: int | None = None) -> tuple[list[Tensor], Tensor]:
    """Convert concatenated sequences to a padded batch.

    Args:
        cu_seqlens: `(S + 1,)`.
        *tensors: `(total, 1, ...)` each.
        length: T, the length of the longest sequence; required in a graph.

    Returns:
        The tensors `(T, S, ...)`, zero at padding; and `mask_pad` `(T, S)`, True there.
    """
    lengths, batch = cu_seqlens.diff(), cu_seqlens.shape[0] - 1
    if length is None:
        length = int(lengths.max()) if batch else 0
    places = _places(cu_seqlens, tensors[0].shape[0])
    steps = torch.arange(length, device=cu_seqlens.device)

    def pad(tensor: Tensor) -> Tensor:
        tensor = tensor.squeeze(1)
        padded = tensor.new_zeros(length * batch, *tensor.shape[1:]).index_copy(0, places, tensor)
        return padded.view(length, batch, *tensor.shape[1:])

    return [pad(tensor) for tensor in tensors], steps[:, None] >= lengths


def lay_end_to_end(tensor: Tensor, cu_seqlens: Tensor, total: int | None = None) -> Tensor:
    """Undo `pad_out`: convert `(T, S, ...)` to `(total, 1, ...)`; a graph requires `total`."""
    total = int(cu_seqlens[-1]) if total is None else total
    return tensor.flatten(0, 1).index_select(0, _places(cu_seqlens, total)).unsqueeze(1)


def longest_first(cu_seqlens: Tensor) -> Tensor:
    """Return `(S,)` int64, the indices of the sequences, longest first."""
    return cu_seqlens.diff().argsort(descending=True)


COLUMNS_AT_ONCE = 512
"""The columns of a recurrence that a multiprocessor processes at once, one per thread."""


def launch_order(cu_seqlens: Tensor, columns: int) -> Tensor | None:
    """Return the order in which a GPU starts sequences of this many columns, without synchronising.

    A long sequence that starts last would run alone at the end. None on a CPU, whose kernels order the
    sequences themselves, or if all start at once.
    """
    if not cu_seqlens.is_cuda:
        return None
    processors = torch.cuda.get_device_properties(cu_seqlens.device).multi_processor_count
    starts_at_once = (cu_seqlens.shape[0] - 1) * columns <= COLUMNS_AT_ONCE * processors
    return None if starts_at_once else longest_first(cu_seqlens)


def _places(cu_seqlens: Tensor, total: int) -> Tensor:
    """Return the index of each position in the flattened batch `(T·S,)`."""
    numbers = sequence_numbers(cu_seqlens, total)
    steps = torch.arange(total, device=cu_seqlens.device) - cu_seqlens[numbers]
    return steps * (cu_seqlens.shape[0] - 1) + numbers


def packed_layout(
    batch_sizes: Tensor, total: int, device: torch.device, sorted_indices: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how to reorder the data of a `PackedSequence` to the layout of `cu_seqlens`.

        x = reorder(data, to, back)        data = reorder(x, back, to)

    Args:
        batch_sizes: As in the `PackedSequence`, on the CPU.
        total: The number of positions, the sum of `batch_sizes`.
        device: The device of the data.
        sorted_indices: As in the `PackedSequence`; None if the sequences were already sorted.

    Returns:
        `cu_seqlens`: `(S + 1,)` int64, of the sequences in their order before sorting.
        `to` and `back`: `(total,)` int64, permutations that are inverse to each other.
    """
    return torch.ops.sru_nn.packed_layout(batch_sizes, total, device, sorted_indices)  # type: ignore[no-any-return]


def _packed_layout(
    batch_sizes: Tensor, total: int, device: torch.device, sorted_indices: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    batch = int(batch_sizes[0]) if len(batch_sizes) else 0
    sizes, rows = batch_sizes.to(device), torch.arange(batch, device=device)
    positions, times = torch.arange(total, device=device), torch.arange(len(sizes), device=device)
    steps = times.repeat_interleave(sizes, output_size=total)
    row = positions - (sizes.cumsum(0) - sizes)[steps]
    lengths = (sizes.unsqueeze(1) > rows).sum(0)
    order = rows if sorted_indices is None else sorted_indices
    cu_seqlens = torch.zeros(batch + 1, dtype=torch.int64, device=device)
    torch.cumsum(torch.empty_like(lengths).index_copy_(0, order, lengths), 0, out=cu_seqlens[1:])
    back = cu_seqlens[order[row]] + steps
    return cu_seqlens, torch.empty_like(back).index_copy_(0, back, positions), back


def _fake_packed_layout(
    batch_sizes: Tensor, total: int, device: torch.device, sorted_indices: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    if sorted_indices is None:
        ends: Any = torch.library.get_ctx().new_dynamic_size(min=2)
    else:
        ends = sorted_indices.shape[0] + 1
    like = torch.empty(total, dtype=torch.int64, device=device)
    return like.new_empty(ends), like, like.new_empty(total)


def reorder(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Return `x[index]`, where `index` is a permutation and `inverse` its inverse.

    Its gradient is a permutation too, rather than a sum over an index.
    """
    if is_transformed():
        return x.index_select(0, index)
    return torch.ops.sru_nn.reorder(x, index, inverse)  # type: ignore[no-any-return]


def _save_for_backward(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    index, inverse = ctx.saved_tensors
    return reorder(grad, inverse, index), None, None


define(
    "packed_layout",
    "(Tensor batch_sizes, SymInt total, Device device, Tensor? sorted_indices) "
    "-> (Tensor cu_seqlens, Tensor to, Tensor back)",
    _packed_layout,
    _fake_packed_layout,
)
define(
    "reorder",
    "(Tensor x, Tensor index, Tensor inverse) -> Tensor",
    lambda x, index, inverse: x.index_select(0, index),
    lambda x, index, inverse: torch.empty_like(x, memory_format=torch.contiguous_format),
    _differentiate,
    _save_for_backward,
)
