"""Trained speech recognisers, for whole files and for streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_apps.decoding.arpa import NGramModel
from sru_apps.inference.loading import changed
from sru_apps.inference.trained import Trained
from sru_apps.tasks.speech.decoding import Decoding
from sru_apps.tasks.speech.metrics import UNITS
from sru_apps.tasks.speech.model import SPECIAL, SpeechConfig, SpeechModel
from sru_apps.train.errors import UserError, building
from sru_data import DataError
from sru_data.datasets.speech import Utterance
from sru_data.features import FeatureConfig, OnlineFeatures, extract, extract_samples, statistics
from sru_data.features.statistics import normalised
from sru_data.tokenizers.streaming import StreamingDecoder


class Transcript(NamedTuple):
    """What was said in an utterance, or the label of a clip."""

    text: str
    """The words or, from a classifier, the most probable label."""
    probability: float | None
    """The probability of the label; None for words."""
    frames: int
    """The frames of the utterance."""


class Piece(NamedTuple):
    """The results that became final with the latest piece of a stream."""

    text: str
    """The text that follows the previous pieces; often empty."""
    log_probs: Tensor
    """(T, V) log-probabilities of the outputs that are known now; T may be 0."""


class Stream:
    """An utterance that arrives in pieces of any size.

    Together, the texts and the log-probabilities of all pieces equal those of the whole utterance.

    Args:
        network: The network, which must be unidirectional.
        features: Computes features from samples.
        decoding: How outputs are decoded to text.
        speaker: The mean and the standard deviation of the speaker; None if features are not normalised by
            them.
    """

    def __init__(
        self,
        network: SpeechModel,
        features: OnlineFeatures,
        decoding: Decoding,
        speaker: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self._network, self._features, self._speaker = network, features, speaker
        self._decoder, self._text = decoding.decoder(), StreamingDecoder(decoding.tokenizer)
        self._state = network.start()

    def accept(self, samples: Tensor) -> Piece:
        """Take the next samples.

        Args:
            samples: (N,) float32 from -1 to 1; for a model of features from files, (N, features).
        """
        return self._read(self._features.accept(samples), last=False)

    def finish(self) -> Piece:
        """End the utterance and return the remaining results."""
        return self._read(self._features.finish(), last=True)

    @torch.inference_mode()
    def _read(self, frames: Tensor, *, last: bool) -> Piece:
        if self._speaker is not None:
            frames = normalised(frames, self._speaker)
        frames = frames.to(self._network.mean.device)
        logits, self._state = self._network.stream(frames.unsqueeze(1), self._state, last=last)
        log_probs = logits.squeeze(1).float().log_softmax(-1).cpu()
        tokens = self._decoder.feed(log_probs) if len(log_probs) else []
        tokens += self._decoder.finish() if last else []
        text = "".join(map(self._text.feed, tokens))
        return Piece(text + self._text.finish() if last else text, log_probs)


class Transcriber(Trained):
    """A trained speech recogniser, or a classifier of clips.

        model = sru_apps.load("runs/speech/an4-sru/first")
        print(model.transcribe("hello.wav").text)

        stream = model.stream(sample_rate=16_000)      # for unidirectional models
        for samples in pieces:
            print(stream.accept(samples).text, end="")
        print(stream.finish().text)

    Attributes:
        features: How features are computed.
        unit: The unit of the alphabet; `labels` for a classifier.
    """

    config_class = SpeechConfig
    network_class = SpeechModel

    def __init__(self, network: Any, tokenizer: Any, entries: Mapping[str, Any]) -> None:
        super().__init__(network, tokenizer)
        self.features = FeatureConfig(**entries["features"])
        self.unit: str = entries["unit"]
        self._decoding: Decoding | None = None
        self._speaker: tuple[Tensor, Tensor] | None = None

    @classmethod
    def check(cls, config: SpeechConfig, entries: Mapping[str, Any]) -> None:
        """Refuse features and units that do not fit the network.

        Raises:
            ValueError: An entry does not fit.
        """
        size = FeatureConfig(**entries["features"]).size
        if size != config.input_size:
            raise ValueError(f"features must have {config.input_size} values, got {size}")
        known = ("labels",) if config.classify else UNITS
        if entries["unit"] not in known:
            raise ValueError(f"unit must be one of {', '.join(known)}, got {entries['unit']!r}")

    def decode_with(
        self,
        language_model: str | Path | NGramModel | None = None,
        *,
        beam: int | None = None,
        lm_weight: float | None = None,
        word_bonus: float | None = None,
        lm_unknown: float | None = None,
    ) -> Transcriber:
        """Set how outputs are decoded to text.

        Args:
            language_model: A word n-gram model in ARPA format, or its file; default: none.
            beam: The beam size; 1 takes the most probable path; default: the model's.
            lm_weight: The weight of the language model; default: the model's.
            word_bonus: Bonus for each word of a hypothesis; default: the model's.
            lm_unknown: Score added for each word outside the language model's vocabulary; default: the
                model's.

        Returns:
            This model.

        Raises:
            DataError: The file is missing or damaged.
            UserError: A number is out of range, or a language model is used without a beam.
        """
        given = {"beam": beam, "lm_weight": lm_weight, "word_bonus": word_bonus, "lm_unknown": lm_unknown}
        config = changed(self.config, {name: value for name, value in given.items() if value is not None})
        if language_model is not None and not isinstance(language_model, NGramModel):
            language_model = NGramModel.read(language_model)
        self._decoding = Decoding(config, self.tokenizer, self.unit, language_model)
        return self

    @property
    def decoding(self) -> Decoding:
        """How outputs are decoded to text."""
        if self._decoding is None:
            self._decoding = Decoding(self.config, self.tokenizer, self.unit)
        return self._decoding

    def adapt_to(self, recordings: Iterable[str | Path]) -> Transcriber:
        """Normalise subsequent audio by the mean and the standard deviation of a speaker's recordings.

        Only for models that were trained with `normalization: speaker`. No transcripts are needed.

        Args:
            recordings: Files of one speaker; the more, the better.

        Returns:
            This model.

        Raises:
            DataError: A file is unreadable, empty, or refused by the model's options.
            UserError: No file is given, or the model does not normalise speakers.
        """
        if not self.features.per_speaker:
            raise UserError(
                "the model does not normalise the recordings of a speaker; train one with "
                "--data.normalization speaker, or leave the recordings out"
            )
        frames = [extract(self.features, Utterance(str(file), str(file))) for file in recordings]
        if not frames:
            raise UserError("expected recordings of the speaker, got none")
        self._speaker = statistics(frames)
        return self

    @property
    def speaker(self) -> tuple[Tensor, Tensor] | None:
        """The mean and the standard deviation of the speaker, (F,) float64 each; None if none are needed.

        Raises:
            UserError: They are needed, and `adapt_to` was not called.
        """
        if self.features.per_speaker and self._speaker is None:
            raise UserError(
                "the model normalises the recordings of a speaker together; name some with --speaker, or "
                "call adapt_to"
            )
        return self._speaker

    def transcribe(self, audio: str | Path | Tensor, *, sample_rate: int | None = None) -> Transcript:
        """Transcribe an utterance, or label a clip.

        Args:
            audio: A file, or samples from -1 to 1, (N,) float32.
            sample_rate: The sample rate of the samples; default: the model's.

        Raises:
            DataError: The audio is unreadable, empty, or refused by the model's options.
            UserError: The model normalises speakers, and `adapt_to` was not called.
        """
        speaker = self.speaker
        if isinstance(audio, Tensor):
            frames = extract_samples(self.features, audio, sample_rate=sample_rate)
            if not len(frames):
                raise DataError(f"expected at least 25 ms of audio, got {len(audio):,} samples")
        else:
            frames = extract(self.features, Utterance(id=str(audio), path=str(audio)))
        return self._read(frames if speaker is None else normalised(frames, speaker))

    def predict(self, files: Iterable[str | Path]) -> Iterator[Transcript]:
        """Transcribe, or label, files one after the other.

        Args:
            files: The files.

        Yields:
            The transcript of each.
        """
        return map(self.transcribe, files)

    @torch.inference_mode()
    def log_probs(self, frames: Tensor) -> Tensor:
        """Return the log-probabilities of an utterance: (T′, V) for symbols, (C,) for labels.

        Args:
            frames: (T, F) float32.
        """
        logits, _ = self.network(frames.to(self.device).unsqueeze(1))
        logits = logits[0] if self.config.classify else logits[:, 0]
        return logits.float().log_softmax(-1).cpu()  # type: ignore[no-any-return]

    def _read(self, frames: Tensor) -> Transcript:
        log_probs = self.log_probs(frames)
        if not self.config.classify:
            (text,) = self.decoding.texts(log_probs.unsqueeze(1), None)
            return Transcript(text, None, len(frames))
        best = int(log_probs.argmax())
        return Transcript(self.tokenizer.tokens[SPECIAL + best], float(log_probs[best].exp()), len(frames))

    def stream(self, *, sample_rate: int | None = None) -> Stream:
        """Begin an utterance that arrives in pieces.

        Args:
            sample_rate: The sample rate; default: the model's.

        Raises:
            UserError: The model is bidirectional, is a classifier, normalises each utterance by its own mean
                and standard deviation, or normalises speakers and `adapt_to` was not called.
        """
        if self.features.per_utterance:
            raise UserError(
                "a model that normalises each utterance by itself needs the whole utterance and cannot "
                "stream; train one with --data.normalization global"
            )
        speaker = self.speaker
        with building():
            features = OnlineFeatures(self.features, sample_rate=sample_rate)
            return Stream(self.network, features, self.decoding, speaker)
