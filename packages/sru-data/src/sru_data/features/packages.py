"""The optional packages that read audio, imported when the first file is read."""

from __future__ import annotations

import importlib
from typing import Any

from sru_data.errors import DataError

_NAMES = {"soundfile": "soundfile", "kaldi_native_fbank": "kaldi-native-fbank", "soxr": "soxr"}


def audio_package(module: str) -> Any:
    """Import a package of the extra `speech`.

    Args:
        module: The name of its module.

    Raises:
        DataError: It is not installed, or the system lacks a library that it needs.
    """
    try:
        return importlib.import_module(module)
    # soundfile raises OSError if libsndfile is missing.
    except (ImportError, OSError) as error:
        raise DataError(
            f"features: expected the package {_NAMES[module]} for audio, got one that does not load "
            f'({error}); run `python -m pip install "sru-data[speech]"`'
        ) from error
