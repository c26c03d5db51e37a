"""The model of each translation system."""

from __future__ import annotations

from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.model import TranslationModel
from sru_apps.tasks.translate.recurrent import EncoderDecoder
from sru_apps.tasks.translate.transformer import TransformerSRU

_MODELS: dict[str, type[TranslationModel]] = {
    "encoder-decoder": EncoderDecoder,
    "transformer-sru": TransformerSRU,
}


def build(config: TranslationConfig) -> TranslationModel:
    """Build the model of a configuration.

    Args:
        config: Sizes and choices.
    """
    return _MODELS[config.system](config)
