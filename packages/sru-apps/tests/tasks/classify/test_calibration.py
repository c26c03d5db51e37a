from __future__ import annotations

import pytest
import torch
from torchmetrics.functional import classification as torchmetrics

from sru_apps.tasks.classify.calibration import BINS, Reliability, fit_temperature, nll


def sample(temperature: float, *, several: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample labels for logits that are calibrated after division by a temperature."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 4, generator=generator)
    if several:
        p = torch.sigmoid(logits / temperature)
        return logits, torch.rand(p.shape, generator=generator) < p
    return logits, torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator).flatten()


@pytest.mark.parametrize("several", [False, True])
def test_the_calibration_error_equals_torchmetrics(several: bool) -> None:
    logits, labels = sample(2.0, several=several)
    found = Reliability()
    for part in (slice(0, 1000), slice(1000, None)):
        found.add(logits[part], labels[part], 1.0, multi_label=several)
    if several:
        p = logits.double().sigmoid().flatten()
        theirs = torchmetrics.binary_calibration_error(p, labels.flatten().long(), n_bins=BINS)
    else:
        p = logits.double().softmax(-1)
        theirs = torchmetrics.multiclass_calibration_error(p, labels, 4, n_bins=BINS)
    assert found.ece == pytest.approx(float(theirs), abs=1e-6)
    assert found.nll == pytest.approx(float(nll(logits, labels)))
    assert sum(row["count"] for row in found.as_dict()["bins"]) == len(p)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_the_temperature_is_recovered(temperature: float, several: bool) -> None:
    logits, labels = sample(temperature, several=several)
    with torch.inference_mode():
        found = fit_temperature(logits, labels)
        assert found == fit_temperature(logits, labels)
        assert found == pytest.approx(temperature, rel=0.08)
        best = nll(logits, labels, found)
        assert all(best <= nll(logits, labels, found * factor) for factor in (0.98, 0.999, 1.001, 1.02))
    before, after = Reliability(), Reliability()
    before.add(logits, labels, 1.0, multi_label=several)
    after.add(logits, labels, found, multi_label=several)
    assert after.ece < 0.5 * before.ece


def test_a_temperature_stays_within_bounds() -> None:
    labels = torch.arange(40) % 2
    right = 5 * torch.nn.functional.one_hot(labels, 2).float()
    assert 0.05 <= fit_temperature(right, labels) < 0.5
    assert fit_temperature(-right, labels) == pytest.approx(20.0, rel=1e-3)


def test_no_texts() -> None:
    assert fit_temperature(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)) == 1.0
