"""Code that reads, assigns, drops, prunes and initialises weights of PyTorch's modules by name."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from sru_nn.compat import GRU, LSTM, GRUCell, LSTMCell

T, B, E, D, L = 4, 3, 6, 5, 2
KINDS = pytest.mark.parametrize("kind", [LSTM, GRU])
WITH_CELLS = pytest.mark.parametrize(
    ("kind", "name"),
    [(LSTM, "weight_hh_l0"), (GRU, "bias_ih_l1_reverse"), (LSTMCell, "weight_ih"), (GRUCell, "bias_hh")],
)


def refusal(kind: type[nn.Module], name: str) -> str:
    return (
        rf"^{kind.__name__} has no {name}: its weights are those of an SRU, \S+transform.weight, \S+weight_c "
        r"and so on; loop over named_parameters\(\)$"
    )


@WITH_CELLS
def test_reading_a_pytorch_weight_raises_and_names_ours(kind, name):
    module = kind(E, D)
    assert not hasattr(module, name)
    with pytest.raises(AttributeError, match=refusal(kind, name)):
        getattr(module, name).data.fill_(1.0)
    with pytest.raises(AttributeError, match="has no attribute 'weights'"):
        module.weights  # noqa: B018


@WITH_CELLS
def test_assigning_a_pytorch_weight_raises(kind, name):
    module = kind(E, D)
    with pytest.raises(AttributeError, match=refusal(kind, name)):
        setattr(module, name, nn.Parameter(torch.zeros(4 * D, D)))
    setattr(module, f"{name}_raw", nn.Parameter(torch.zeros(1)))  # other names are allowed


NORMS = {
    "spectral_norm": (nn.utils.spectral_norm, AttributeError),
    "weight_norm": (nn.utils.weight_norm, AttributeError),
    "pruning": (prune.identity, AttributeError),
    # These only check whether the module has the parameter, so the error is PyTorch's and lists the layers.
    "parametrizations.spectral_norm": (parametrizations.spectral_norm, ValueError),
    "parametrizations.weight_norm": (parametrizations.weight_norm, ValueError),
}


@WITH_CELLS
@pytest.mark.filterwarnings("ignore::FutureWarning")  # the first two are deprecated
@pytest.mark.parametrize("norm", NORMS)
def test_normalising_a_pytorch_weight_raises(kind, name, norm):
    apply, error = NORMS[norm]
    own = refusal(kind, name) if error is AttributeError else rf"(?s)\(transform\): Linear.* name '{name}'$"
    for module in (kind(E, D), copy.deepcopy(kind(E, D)), pickle.loads(pickle.dumps(kind(E, D)))):
        with pytest.raises(error, match=own):
            apply(module, name)
    with pytest.raises(KeyError, match="'weight'"):
        nn.utils.spectral_norm(kind(E, D))


@KINDS
@pytest.mark.parametrize("name", ["_all_weights", "_flat_weights_names"])
def test_reading_a_list_of_weight_names_raises(kind, name):
    with pytest.raises(AttributeError, match=refusal(kind, name)):
        getattr(kind(E, D), name)


class WeightDrop(nn.Module):
    """Replaces a parameter by a plain tensor before every call, as in an AWD-LSTM."""

    def __init__(self, rnn: nn.Module, owner: nn.Module, name: str) -> None:
        super().__init__()
        self.rnn, self.owner, self.name = rnn, owner, name
        self.raw = nn.Parameter(getattr(owner, name).data)
        del owner._parameters[name]

    def forward(self, x: Tensor) -> Tensor:
        setattr(self.owner, self.name, 2 * self.raw)
        return self.rnn(x)[0]


def pruned(rnn: nn.Module, owner: nn.Module, name: str) -> nn.Module:
    prune.l1_unstructured(owner, name, amount=1.0)
    return rnn


# Tools that change a weight, and the factor by which they multiply it.
TOOLS = {"dropped": (WeightDrop, 2.0), "pruned": (pruned, 0.0)}


@KINDS
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", ["weight", "weight_c"])
@pytest.mark.parametrize("length", [1, T])
def test_tools_that_replace_a_weight_by_name(kind, tool, name, length):
    """With SRU weight names, every path uses the changed weight and its source gets a gradient."""
    rnn, plain, x = kind(E, D, L), kind(E, D, L), torch.randn(length, B, E)
    plain.load_state_dict(rnn.state_dict())
    change, factor = TOOLS[tool]

    def owner(module: nn.Module) -> nn.Module:
        return module.rnn_lst[0].transform if name == "weight" else module.rnn_lst[0]

    model = change(rnn, owner(rnn), name)
    getattr(owner(plain), name).data.mul_(factor)

    def output() -> Tensor:
        found = model(x)
        return found if isinstance(found, Tensor) else found[0]

    torch.testing.assert_close(output(), plain(x)[0])
    with torch.no_grad():
        torch.testing.assert_close(output(), plain(x)[0])
    output().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_spectral_norm_of_the_projection():
    rnn = LSTM(E, D, L)
    parametrizations.spectral_norm(rnn.rnn_lst[0].transform, n_power_iterations=30)
    weight = rnn.eval().rnn_lst[0].transform.weight
    torch.testing.assert_close(torch.linalg.matrix_norm(weight, 2), torch.tensor(1.0), rtol=1e-3, atol=0)
    assert rnn(torch.randn(T, B, E))[0].isfinite().all()


@pytest.mark.parametrize("kind", [LSTM, GRU, LSTMCell, GRUCell])
def test_the_initialiser_of_a_subclass_runs(kind):
    class Initialised(kind):
        def reset_parameters(self) -> None:
            for parameter in self.parameters():
                nn.init.constant_(parameter, 0.5)

    assert all(parameter.eq(0.5).all() for parameter in Initialised(E, D).parameters())
