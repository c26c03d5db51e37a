"""The systems that translate."""

from __future__ import annotations

from sru_apps.tasks.translate.model import TranslationConfig, TranslationModel
from sru_apps.tasks.translate.recurrent import EncoderDecoder


def build(config: TranslationConfig) -> TranslationModel:
    """Build the model of a configuration.

    Args:
        config: Sizes and choices.
    """
    return EncoderDecoder(config)
