"""The systems that translate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sru_apps.tasks.translate.model import TranslationModel
from sru_apps.tasks.translate.recurrent import EncoderDecoder
from sru_apps.tasks.translate.transformer import TransformerSRU

if TYPE_CHECKING:
    from sru_apps.tasks.translate.config import TranslationConfig

SYSTEMS: dict[str, type[TranslationModel]] = {
    "encoder-decoder": EncoderDecoder,
    "transformer-sru": TransformerSRU,
}

if TYPE_CHECKING:
    SystemName = str
else:
    SystemName = Literal[tuple(SYSTEMS)]


def build(config: TranslationConfig) -> TranslationModel:
    """Build the model of a configuration.

    Args:
        config: Sizes and choices.
    """
    return SYSTEMS[config.system](config)
