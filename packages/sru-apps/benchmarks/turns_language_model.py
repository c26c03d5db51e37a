"""Steps of `sru lm fit` and generation, for `nox -s bench -- language_model --against COMMIT`."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch

# Stable names (docs/reference), which older commits have too.
from sru_apps.encoders import RecurrentName
from sru_apps.language_modelling.config import LanguageModelConfig
from sru_apps.language_modelling.generate import generate
from sru_apps.language_modelling.model import LanguageModel
from turns_fit import Calls, Fit, run

FIT = (
    *("lm", "fit", "--data.name=python-help", "--data.batch_size=32", "--data.length=64"),
    *("--model.encoder=sru", "--model.embedding_size=128", "--model.hidden_size=160", "--model.num_layers=2"),
    *("--trainer.max_epochs=1000", "--trainer.accelerator=cpu"),
)


def generation(name: RecurrentName) -> tuple[Callable[[], object], list[float]]:
    """Greedy generation over bytes, one sequence."""
    torch.manual_seed(0)
    config = LanguageModelConfig(
        vocab_size=258, encoder=name, embedding_size=256, hidden_size=256, num_layers=4
    )
    model = LanguageModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    with torch.inference_mode():
        logits, _ = model(torch.arange(32).unsqueeze(1))
    texts = generate(model, list(range(32)), temperature=0.0)
    return lambda: [next(texts) for _ in range(20)], [logits.norm().item()]


if __name__ == "__main__":
    cases = {
        f"generate, {name}": Calls(lambda name=name: generation(name)) for name in get_args(RecurrentName)
    }
    run({**cases, "lm fit": Fit(*FIT)})
