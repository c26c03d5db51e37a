"""Utterances for Lightning: features prepared once, mapped into memory, batched by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from sru_apps.decoding.arpa import NGramModel
from sru_apps.ranges import check_at_least
from sru_apps.tasks.speech.batches import Batch, Example, Examples, make_batch
from sru_apps.tasks.speech.checks import check_labels, check_symbols, choose, named, number_labels
from sru_apps.tasks.speech.decoding import Decoding
from sru_apps.tasks.speech.model import SPECIAL, SpeechConfig
from sru_apps.tasks.speech.source import DatasetName, check_source, feature_config, find_utterances
from sru_apps.train.console import preparation_bar
from sru_apps.train.data import BatchData, BatchLoader
from sru_apps.train.errors import UserError, building
from sru_apps.train.own_files import Files, name_of_files
from sru_data.datasets.speech import Utterance
from sru_data.feature_files import PreparedFeatures, prepare
from sru_data.features import statistics
from sru_data.loaders import LengthBatchSampler
from sru_data.tokenizers.alphabets import encode_transcript, train_alphabet

_FRAMES_PER_HOUR = 360_000
_MEASURED = 2000
"""The maximum number of utterances used to compute the mean and the standard deviation."""


class SpeechData(BatchData[Example, Batch]):
    """A published set of utterances, or your own files, as batches of features of similar lengths.

    Features are computed once, by `prepare` or by the first training, and then mapped into memory.

    Args:
        name: A published set: an4, timit, librispeech or common-voice, and, to classify, fsdd or
            speech-commands.
        train_file: Your own utterances instead: manifests (CSV, TSV or JSON lines) or Kaldi data
            directories; one path, a list, or a pattern.
        validation_file: Validation files; default: a random tenth of `train_file`, by speaker if there are at
            least ten.
        test_file: Test files; default: another tenth, if there is no `validation_file` either.
        data_dir: Folder with the published sets; default: $SRU_DATA.
        prepared_dir: Folder of the prepared features; default: one in the cache.
        task: transcribe utterances, or classify clips by their label.
        held_out: The speaker of fsdd to test on; default: the first in alphabetical order.
        validation_speaker: The speaker of fsdd to validate on; default: some recordings of the training
            speakers.
        train_sets: The folders of librispeech to train on; default: train-clean-100.
        unit: The output units: characters, words, phones (separated by spaces) or subwords.
        vocab_size: The number of subwords to learn.
        features: fbank (log-mel energies) or mfcc, computed from audio, or file, to read them from files.
        num_bins: The number of mel bins; with features from files, the number per frame.
        num_cepstra: The number of mfcc coefficients.
        deltas: The order of the time derivatives appended to the features: 0, 1 or 2.
        sample_rate: The sample rate that features are computed at.
        normalization: The mean and standard deviation used to normalise features: global (of the training
            data), speaker (of all utterances of a speaker), utterance (of each utterance) or none.
        on_stereo: What to do with audio of several channels: mix or refuse.
        on_rate: What to do with audio of another sample rate: resample or refuse.
        on_clipping: What to do with clipped audio: accept or refuse.
        on_unreadable: What to do with utterances whose audio cannot be used: refuse or skip.
        on_unknown: What to do with symbols outside the alphabet: refuse, or keep them as unknown.
        on_short: What to do with a training utterance that is too short for its transcript after subsampling:
            skip or refuse.
        subsampling: The factor by which the model shortens utterances: 1, 2 or 4.
        speeds: Speeds, such as 0.9 1.0 1.1; one is chosen at random for each training utterance and epoch.
        vtlp: Vocal tract length perturbation of fbank: in each epoch, warp the frequencies of each training
            utterance by a factor from 1 - vtlp to 1 + vtlp; usually 0.1.
        shortest_first: The number of epochs that go from short to long utterances before the order is random.
        max_frames: Train on utterances of at most this many frames, 100 per second.
        lm: A word n-gram model in ARPA format, plain or compressed, for decoding.
        batch_size: Utterances per batch.
        evaluation_batch_size: The same in validation and test; default: `batch_size`.
        seed: Seed of what is held out, of the order of the batches, of speeds and of `vtlp`.

    Attributes:
        features: How features are computed.
        prepared: The prepared features.
        tokenizer: The alphabet, or the labels.

    Raises:
        ValueError: A size is less than 1, or an option has no such value.
        UserError: No utterances are named, or two sets are.
    """

    prepared: PreparedFeatures

    def __init__(
        self,
        name: DatasetName | None = None,
        train_file: Files | None = None,
        validation_file: Files | None = None,
        test_file: Files | None = None,
        data_dir: str | None = None,
        prepared_dir: str | None = None,
        task: Literal["transcribe", "classify"] = "transcribe",
        held_out: str | None = None,
        validation_speaker: str | None = None,
        train_sets: list[str] | None = None,
        unit: Literal["characters", "words", "phones", "subwords"] = "characters",
        vocab_size: int | None = None,
        features: Literal["fbank", "mfcc", "file"] = "fbank",
        num_bins: int = 80,
        num_cepstra: int = 13,
        deltas: Literal[0, 1, 2] = 0,
        sample_rate: int = 16_000,
        normalization: Literal["global", "speaker", "utterance", "none"] = "global",
        on_stereo: Literal["mix", "refuse"] = "mix",
        on_rate: Literal["resample", "refuse"] = "resample",
        on_clipping: Literal["accept", "refuse"] = "accept",
        on_unreadable: Literal["refuse", "skip"] = "refuse",
        on_unknown: Literal["refuse", "keep"] = "refuse",
        on_short: Literal["skip", "refuse"] = "skip",
        subsampling: Literal[1, 2, 4] = 1,
        speeds: list[float] | None = None,
        vtlp: float = 0.0,
        shortest_first: int = 1,
        max_frames: int | None = None,
        lm: str | None = None,
        batch_size: int = 16,
        evaluation_batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(
            1,
            vocab_size=vocab_size,
            max_frames=max_frames,
            batch_size=batch_size,
            evaluation_batch_size=evaluation_batch_size,
        )
        check_at_least(0, shortest_first=shortest_first)
        self.save_hyperparameters(logger=False)
        check_source(self.hparams)
        self.features = feature_config(self.hparams)
        self.dataset = self.group = name or name_of_files(train_file or "")
        self.classify = task == "classify"
        self.unit_of_symbols = "labels" if self.classify else unit
        self._speeds = tuple(speeds or (1.0,))
        self._left_out: dict[str, list[Utterance]] = {}
        self._decoding: tuple[SpeechConfig, Decoding] | None = None

    def prepare_data(self) -> None:
        """Compute missing features, in one process while others wait.

        Raises:
            DataError: A file is missing or damaged, or the folder holds other features.
        """
        if not hasattr(self, "prepared"):
            with preparation_bar(self.dataset, unit="utterances") as report:
                self.prepared = prepare(
                    find_utterances(self.hparams),
                    self.hparams["prepared_dir"],
                    name=self.dataset,
                    # Normalised when read, once they are warped.
                    config=replace(self.features, per_utterance=False, per_speaker=False),
                    speeds=self._speeds,
                    skip_bad=self.hparams["on_unreadable"] == "skip",
                    progress=lambda progress: report(progress.stage, progress.utterances, progress.total),
                )
            self.has_test = "test" in self.prepared.parts

    def setup(self, stage: str) -> None:
        """Open the prepared features and assign ids to the symbols.

        Raises:
            DataError: A transcript holds symbols outside the alphabet, or no utterance is left to train on.
        """
        if self.parts:
            return
        self.prepare_data()
        if self.tokenizer is None:
            self.tokenizer = self._number_symbols(self.prepared.parts["train"].utterances)
        for part, file in self.prepared.parts.items():
            symbols = self._symbols(file.utterances, f"{self.dataset}, {part}")
            targets = [torch.tensor(numbers, dtype=torch.int64) for numbers in symbols]
            numbers = None
            if part == "train":
                spelled = None if self.classify else targets
                chosen = choose(file, spelled, self.hparams, fastest=max(self._speeds), place=self.dataset)
                numbers, self._left_out = chosen
            own = {name: self.hparams[name] for name in ("vtlp", "seed")}
            self.parts[part] = Examples(file, self.features, targets, numbers, speeds=self._speeds, **own)

    def _number_symbols(self, train: Sequence[Utterance]) -> Any:
        if self.classify:
            return number_labels(train, place=self.dataset)
        texts = (utterance.text or "" for utterance in train)
        with building():
            return train_alphabet(texts, unit=self.hparams["unit"], vocab_size=self.hparams["vocab_size"])

    def _symbols(self, utterances: Sequence[Utterance], place: str) -> list[list[int]]:
        if self.classify:
            check_labels(utterances, self.tokenizer, place=place)
            numbers = self.tokenizer.ids_of([utterance.label for utterance in utterances])
            return [[number - SPECIAL] for number in numbers]
        symbols = [encode_transcript(self.tokenizer, utterance.text or "") for utterance in utterances]
        if self.hparams["on_unknown"] == "refuse":
            check_symbols(utterances, symbols, self.tokenizer, place=place)
        return symbols

    def utterance(self, part: str, index: int) -> Utterance:
        """Return an utterance of a part by its number."""
        return self.prepared.parts[part].utterances[index]

    def transcript(self, part: str, index: int) -> str:
        """Return the true transcript of an utterance."""
        return self.utterance(part, index).text or ""

    @cached_property
    def language_model(self) -> NGramModel | None:
        """The language model, if one is named."""
        return None if self.hparams["lm"] is None else NGramModel.read(self.hparams["lm"])

    def decoding(self, config: SpeechConfig) -> Decoding:
        """Return how the outputs of a model are decoded to text.

        Raises:
            DataError: The language model is missing or damaged.
            UserError: It does not fit the options of the model.
        """
        if self._decoding is None or self._decoding[0] != config:
            made = Decoding(config, self.tokenizer, self.unit_of_symbols, self.language_model)
            self._decoding = config, made
        return self._decoding[1]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation of the training frames, (F,) float64 each."""
        train: Any = self.parts["train"]
        numbers = train.numbers[:: -(-len(train) // _MEASURED)]
        return statistics(train.part.features(number) for number in numbers.tolist())

    def opening(self) -> str:
        """Count the utterances and the symbols, and list those left out."""
        parts: dict[str, Any] = self.parts
        sizes = ", ".join(
            f"{name} {len(part):,} ({int(part.lengths.sum()) / _FRAMES_PER_HOUR:.2f} h)"
            for name, part in parts.items()
        )
        symbols = f"{len(self.tokenizer) - SPECIAL:,} {self.unit_of_symbols}"
        lines = [f"{self.dataset}: utterances: {sizes}; {symbols}"]
        for name, part in self.prepared.parts.items():
            if part.left_out:
                first = next(iter(part.left_out.values()))
                lines.append(f"{len(part.left_out):,} utterances for {name} cannot be used, such as {first}")
        for reason, found in self._left_out.items():
            lines.append(f"{len(found):,} training utterances left out, {reason}: {named(found)}")
        return "\n".join(lines)

    def report(self) -> str:
        """Describe the prepared features, for `sru speech prepare`."""
        return f"{self.opening()}\nPrepared features: {self.prepared.folder}"

    def train_dataloader(self) -> BatchLoader[Example, Batch]:
        """The training batches of this process."""
        train: Any = self.parts["train"]
        sampler = LengthBatchSampler(
            train.lengths,
            batch_size=self.hparams["batch_size"],
            seed=self.hparams["seed"],
            shortest_first=self.hparams["shortest_first"],
        )
        return BatchLoader(train.drawn(sampler), sampler, self.collate, rank=self.rank)

    def test_dataloader(self) -> BatchLoader[Example, Batch]:
        """All test data.

        Raises:
            UserError: There is no test data.
        """
        if not self.has_test:
            raise UserError(f"{self.dataset} has no test utterances; give some with --test-file")
        return super().test_dataloader()

    def lengths(self, items: Any) -> Tensor:
        """The frames of each utterance."""
        return items.lengths  # type: ignore[no-any-return]

    def length(self, item: Example) -> int:
        """The frames of an utterance."""
        return len(item.features)

    @staticmethod
    def collate(items: Sequence[Example]) -> Batch:
        """Pad utterances into a batch."""
        return make_batch(items)

    def take_tokenizer(self, tokenizer: str, config: Mapping[str, Any]) -> None:
        """Use the alphabet of a trained model, unless one of the two has labels and the other transcripts."""
        if bool(config["classify"]) == self.classify:
            super().take_tokenizer(tokenizer, config)
