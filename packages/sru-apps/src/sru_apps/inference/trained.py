"""The base class of trained models that make predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from typing_extensions import Self

from sru_data.tokenizers import Tokenizer, load_tokenizer


class Trained:
    """A trained model, ready to use.

    Args:
        network: The network, with its weights.
        tokenizer: The tokenizer of the text.
        entries: The other entries of an exported `config.json`; default: none.

    Attributes:
        network: The network, in evaluation mode.
        tokenizer: Its tokenizer.
    """

    config_class: ClassVar[Any]
    """The dataclass that the network is built from."""
    network_class: ClassVar[Any]
    """Builds the network from a configuration."""
    read_tokenizer: ClassVar[Any] = staticmethod(load_tokenizer)
    """Reads the file that the tokenizer was saved to."""

    def __init__(self, network: Any, tokenizer: Any, entries: Mapping[str, Any] | None = None) -> None:
        self.network = network.eval()
        self.tokenizer = self.wrap(tokenizer)

    @classmethod
    def wrap(cls, tokenizer: Tokenizer) -> Any:
        """Return the tokenizer that the task uses, given the tokenizer of the text."""
        return tokenizer

    @classmethod
    def entries(cls, hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Turn the hyper-parameters of a checkpoint into the entries of an exported `config.json`."""
        return {**hyper_parameters, "model": hyper_parameters["config"]}

    @classmethod
    def check(cls, config: Any, entries: Mapping[str, Any]) -> None:
        """Refuse entries that do not fit the configuration.

        Raises:
            ValueError: An entry does not fit.
        """

    @property
    def config(self) -> Any:
        """The configuration of the network."""
        return self.network.config

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device  # type: ignore[no-any-return]

    def to(self, device: str | torch.device) -> Self:
        """Move the network to a device.

        Args:
            device: As torch names it.

        Returns:
            This model.
        """
        self.network.to(device)
        return self
