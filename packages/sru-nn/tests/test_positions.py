"""How modules handle resets, concatenated sequences and learned states before calling the recurrences."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from torch import fx, nn
from torch.nn.utils.rnn import pack_sequence

from sru_nn import SRU, GatedLinearRNN, MinGRU, SRUCell, positions
from sru_nn.compat import GRU, LSTM
from sru_nn.functional import mingru_recurrence
from sru_nn.positions import check_cu_seqlens, check_ends, restart

E, D, L = 4, 6, 2
CU_SEQLENS = torch.tensor([0, 2, 2, 5])


def test_restart_selects_in_nested_states():
    """A product with zero would keep NaN and infinity."""
    h = torch.full((L, 3, D), torch.nan)
    c = torch.randn(L, 3, D, requires_grad=True)
    initial = torch.randn(L, D, requires_grad=True)
    reset = torch.tensor([True, False, True])
    (new_h, new_c), nothing = restart(((h, c), None), reset, ((None, initial), None))
    assert nothing is None
    assert (new_h[:, reset] == 0).all()
    assert new_h[:, 1].isnan().all()
    torch.testing.assert_close(new_c[:, reset], initial[:, None].expand(-1, 2, -1), rtol=0, atol=0)
    torch.testing.assert_close(new_c[:, 1], c[:, 1], rtol=0, atol=0)
    of_c, of_initial = torch.autograd.grad(new_c.sum(), (c, initial))
    assert (of_c == (~reset).float()[:, None]).all()
    assert (of_initial == 2).all()


@pytest.mark.usefixtures("implementation")
def test_a_dropout_mask_belongs_to_a_sequence():
    cell, x = SRUCell(E, D, dropout=0.5, rnn_dropout=0.5).train(), torch.randn(5, E)
    masks = {size: torch.rand(3, size) for size in (E, D)}
    cell._variational_mask = lambda like, sequences, size, p: masks[size][:sequences]
    h, _ = cell(x, cu_seqlens=CU_SEQLENS)
    for number, (begin, end) in enumerate(itertools.pairwise(CU_SEQLENS)):
        cell._variational_mask = lambda like, sequences, size, p, row=number: masks[size][row : row + 1]
        torch.testing.assert_close(h[begin:end, None], cell(x[begin:end, None])[0])


@pytest.mark.parametrize("kind", [SRU, GRU, LSTM])
def test_both_directions_of_a_single_step(kind: type[nn.Module]):
    """The mark says where the first direction begins; the second begins at the far end."""
    rnn, x = kind(E, D, L, bidirectional=True).double(), torch.randn(1, 3, E, dtype=torch.float64)
    state = rnn(x)[1]
    reset = torch.tensor([[True, False, True]])
    longer = torch.cat([x, torch.randn(1, 3, E, dtype=torch.float64)])
    mask = torch.tensor([[False] * 3, [True] * 3])
    h, last = rnn(longer, state, mask_pad=mask, reset=torch.cat([reset, reset]))
    torch.testing.assert_close(rnn(x, state, reset=reset), (h[:1], last))


@pytest.mark.usefixtures("implementation")
def test_the_last_outputs_of_sequences_end_to_end():
    rnn, x = LSTM(E, D, L, bidirectional=True, proj_size=2), torch.randn(5, E)
    h0, c0 = torch.randn(2 * L, 3, 2), torch.randn(2 * L, 3, D)
    output, (h, c) = rnn(x, (h0, c0), cu_seqlens=CU_SEQLENS)
    torch.testing.assert_close(h[-2:, [0, 2]], torch.stack([output[[1, 4], :2], output[[0, 2], 2:]]))
    torch.testing.assert_close((h[:, 1], c[:, 1]), (h0[:, 1], c0[:, 1]), rtol=0, atol=0)
    _, (h, c) = rnn(x, cu_seqlens=CU_SEQLENS)
    assert not h[:, 1].any()
    assert not c[:, 1].any()


def test_packed_data_is_not_padded_out(monkeypatch: pytest.MonkeyPatch):
    rnn, seen = MinGRU(E, D, L), []
    run = type(rnn)._run
    monkeypatch.setattr(MinGRU, "_run", lambda self, x, *rest: seen.append(x.shape) or run(self, x, *rest))
    rnn(pack_sequence([torch.randn(length, E) for length in (2, 9, 1)], enforce_sorted=False))
    assert seen == [(12, 1, E)]


@torch.no_grad()
def test_decoding_begins_with_the_learned_state():
    rnn = SRU(E, D, L, learn_initial_state=True)
    for cell in rnn.rnn_lst:
        nn.init.normal_(cell.initial_state)
    x = torch.randn(2, 3, E)
    h, last = rnn(x)
    first, state = rnn.step(x[0])
    second, state = rnn.step(x[1], state)
    torch.testing.assert_close((torch.stack([first, second]), state), (h, last))


def test_fx_records_marks_and_offsets():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = SRU(E, D, L)

        def forward(self, x, reset, cu_seqlens):
            h, _ = self.rnn(x, reset=reset)
            h, _ = self.rnn(h[:, 0, :E], cu_seqlens=cu_seqlens)
            return self.rnn.step(h[:, :E], reset=reset[0, :1].expand(5))[0]

    model = Model()
    traced = fx.symbolic_trace(model)
    given = torch.randn(5, 3, E), torch.rand(5, 3) < 0.5, CU_SEQLENS
    torch.testing.assert_close(traced(*given), model(*given))


def test_length_parallel_takes_no_sequences():
    rnn = SRU(E, D, L, length_parallel=True)
    with pytest.raises(ValueError, match="length_parallel takes no reset and no cu_seqlens; choose"):
        rnn(torch.randn(5, 1, E), reset=torch.zeros(5, 1, dtype=torch.bool))


WRONG = {
    "a list": ([0, 5], TypeError, "must be a tensor, got a list"),
    "numbers": (torch.tensor([0.0, 5.0]), TypeError, "must be int32 or int64, got torch.float32"),
    "two axes": (torch.zeros(2, 4, dtype=torch.int64), ValueError, "must have shape (S + 1,), got (2, 4)"),
    "nothing": (torch.zeros(0, dtype=torch.int64), ValueError, "must have shape (S + 1,), got (0,)"),
    "the beginning": (torch.tensor([3, 5]), ValueError, "must begin at 0, got 3"),
    "the end": (torch.tensor([0, 2, 4]), ValueError, "must end at the number of positions, 5, got 4"),
    "an end beyond": (torch.tensor([0, 9]), ValueError, "must end at the number of positions, 5, got 9"),
    "no order": (torch.tensor([0, 4, 3, 5]), ValueError, "must not decrease, got 3 after 4"),
    "the device": (
        torch.zeros(2, dtype=torch.int64, device="meta"),
        ValueError,
        "must be on the device of the input, cpu, got meta; move one of them with .to()",
    ),
}


def check_offsets(cu_seqlens, total):
    check_cu_seqlens("who", cu_seqlens, torch.zeros(total, 1))
    check_ends("who", cu_seqlens, total)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_offsets(case):
    cu_seqlens, error, message = WRONG[case]
    with pytest.raises(error, match="^who: cu_seqlens " + re.escape(message)):
        check_offsets(cu_seqlens, 5)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize(("values", "total"), [([0, 2, 2, 5], 5), ([0], 0), ([0, 0, 0], 0)])
def test_right_offsets(values, total, dtype):
    check_offsets(torch.tensor(values, dtype=dtype), total)


CALLS = {
    "SRU": lambda x: SRU(E, D, L, bidirectional=True)(x, cu_seqlens=CU_SEQLENS),
    "SRUCell": lambda x: SRUCell(E, D)(x, cu_seqlens=CU_SEQLENS),
    "LSTM": lambda x: LSTM(E, D, L)(x, cu_seqlens=CU_SEQLENS),
    "MinGRU": lambda x: MinGRU(E, D, L)(x, cu_seqlens=CU_SEQLENS),
    "GatedLinearRNN": lambda x: GatedLinearRNN(E, D, L)(x, cu_seqlens=CU_SEQLENS),
    "mingru_recurrence": lambda x: mingru_recurrence(x.view(5, 1, 2, E // 2), cu_seqlens=CU_SEQLENS),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_offsets_are_read_once_however_many_layers_there_are(call, monkeypatch: pytest.MonkeyPatch):
    seen = []
    is_plain = positions.is_plain
    monkeypatch.setattr(positions, "is_plain", lambda *given: seen.append(given) or is_plain(*given))
    call(torch.randn(5, E))
    assert len(seen) == 1
