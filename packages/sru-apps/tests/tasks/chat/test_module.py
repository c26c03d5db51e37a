from __future__ import annotations

from typing import get_args

import pytest
import torch

from sru_apps.nn import RecurrentName
from sru_apps.tasks.chat.data import ChatData
from sru_apps.tasks.chat.module import ChatModule
from sru_apps.tasks.chat.tokenizer import DialogueTokenizer
from sru_apps.tasks.lm.model import LanguageModelConfig
from sru_data.datasets.dialogues import Turn
from sru_data.loaders import IGNORE
from sru_data.tokenizers import CharTokenizer

TOKENIZER = DialogueTokenizer(CharTokenizer.train(["abcdef"]))
DIALOGUES = [
    (Turn("abc", "fed"),),
    (Turn(None, "a"),),
    (Turn("f", "eeeee"), Turn("abcdefabcdef", "c")),
]


@pytest.mark.parametrize("encoder", get_args(RecurrentName))
def test_padding_changes_no_loss_and_no_gradient(encoder: RecurrentName) -> None:
    torch.manual_seed(0)
    config = LanguageModelConfig(
        vocab_size=len(TOKENIZER), encoder=encoder, embedding_size=6, hidden_size=8, num_layers=2
    )
    module = ChatModule(config).double().train()
    items = [TOKENIZER.encode_dialogue(dialogue) for dialogue in DIALOGUES]
    counts = torch.tensor([int((item.targets != IGNORE).sum()) for item in items], dtype=torch.float64)
    alone = torch.stack([module.training_step(ChatData.collate([item]), 0)["loss"] for item in items])
    expected = (alone * counts).sum() / counts.sum()
    wanted = torch.autograd.grad(expected, list(module.parameters()), allow_unused=True)
    together = module.training_step(ChatData.collate(items), 1)["loss"]
    found = torch.autograd.grad(together, list(module.parameters()), allow_unused=True)
    torch.testing.assert_close(together, expected, rtol=1e-9, atol=1e-12)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-10)


def test_the_users_text_is_not_learnt() -> None:
    torch.manual_seed(0)
    config = LanguageModelConfig(vocab_size=len(TOKENIZER), embedding_size=6, hidden_size=8, num_layers=1)
    module = ChatModule(config)
    item = TOKENIZER.encode_dialogue((Turn("aaa", "b"),))
    logits, _ = module.network(item.inputs.unsqueeze(1))
    said = torch.tensor([*item.inputs[1:].tolist(), TOKENIZER.end_id])
    nll = torch.nn.functional.cross_entropy(logits.squeeze(1), said, reduction="none")
    learnt = [item.inputs.tolist().index(TOKENIZER.bot_id), len(said) - 1]  # the answer, and its end
    loss = module.training_step(ChatData.collate([item]), 0)["loss"]
    torch.testing.assert_close(loss, nll[learnt].mean())
