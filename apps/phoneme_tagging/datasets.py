"""The data sets of phoneme tagging, as tensorflow-datasets builders.

Every record is one utterance:

    waveform      int16 (samples,) at 16 kHz          utterance_id, speaker, text   string
    phone         string (phones,), of TIMIT's 61     start, end  int64 (phones,), samples

No speaker and no text of training stands in validation or test.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from apps.phoneme_tagging import espeak, formats, sentences, speakers
from apps.phoneme_tagging.config import DataConfig
from apps.phoneme_tagging.formats import Segment, Utterance
from common import datasets, files, sound_files
from common.errors import UserError


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """Where the files are or what is made; its name changes when they do."""

    root: Path | None = None
    fold: int = 0
    num_utterances: int = 0


class _Utterances(tfds.core.GeneratorBasedBuilder):
    """What the builders share: the record."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, **kwargs):
        self.broken = datasets.BrokenRows(type(self).__name__)
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        features = {
            "waveform": tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes"),
            "utterance_id": text,
            "speaker": text,
            "text": text,
            "phones": tfds.features.Sequence({"phone": text, "start": np.int64, "end": np.int64}),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _record(
        self, key: str, waveform: np.ndarray, speaker: str, text: str, segments: list[Segment]
    ) -> tuple[str, dict]:
        pcm = np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
        return key, {
            "waveform": pcm,
            "utterance_id": key,
            "speaker": speaker,
            "text": text,
            "phones": [one._asdict() for one in segments],
        }


class Espeak(_Utterances):
    """Sentences spoken by espeak-ng in many voices; phone times are exact."""

    VERSION = tfds.core.Version("1.1.0")  # equal neighbours are one phone

    def _split_generators(self, dl_manager):
        synthesizer = espeak.Synthesizer()
        counts = speakers.counts(self.builder_config.num_utterances)
        return {
            part: self._generate_examples(synthesizer, part, texts)
            for part, texts in sentences.by_part(counts).items()
        }

    def _generate_examples(
        self, synthesizer: espeak.Synthesizer, part: str, texts: list[str]
    ) -> Iterator[tuple[str, dict]]:
        for number, text in enumerate(texts):
            voice = speakers.voice(part, number)
            key = f"{part}-{number:05d}"
            try:
                waveform, segments = synthesizer.say(text, voice)
            except ValueError as error:
                self.broken.use(f"{key}, {text!r}", str(error))
                continue
            if self.broken.use(f"{key}, {text!r}", formats.problem(segments, len(waveform))):
                yield self._record(key, waveform, voice.variant, text, segments)
        self.broken.check()


class Timit(_Utterances):
    """TIMIT (Garofolo et al. 1993, https://catalog.ldc.upenn.edu/LDC93S1), sentences SI and SX.

    Validation are speakers of the official training part; `test` is the official test part.
    """

    def _split_generators(self, dl_manager):
        found = formats.find_timit(self.builder_config.root)
        held_back = speakers.held_back(
            {one.speaker for one in found["train"]}, fold=self.builder_config.fold
        )
        parts: dict[str, list[Utterance]] = {"train": [], "validation": []}
        for one in found.pop("train"):
            parts["validation" if one.speaker in held_back else "train"].append(one)
        return {part: self._generate_examples(ones) for part, ones in (parts | found).items()}

    def _generate_examples(self, utterances: list[Utterance]) -> Iterator[tuple[str, dict]]:
        for one in utterances:
            try:
                waveform = sound_files.read(one.sound)
                segments = formats.read_phn(one.labels)
                wrong = formats.problem(segments, len(waveform))
            except (UserError, ValueError) as error:
                self.broken.use(str(one.labels), str(error))
                continue
            if self.broken.use(str(one.labels), wrong):
                yield self._record(one.key, waveform, one.speaker, "", segments)
        self.broken.check()


def make_builder(config: DataConfig) -> tuple[tfds.core.DatasetBuilder, dict[str, str]]:
    """Prepares a data set if need be; returns its builder and the TFDS split of each of our splits.

    Raises:
        UserError: files or espeak are missing or damaged, or too many utterances are broken.
    """
    if config.name == "espeak":
        made_of = f"{espeak.version()} {sorted(sentences.versions().items())}"
        state = hashlib.sha256(made_of.encode()).hexdigest()[:12]
        name = f"{state}-{config.num_utterances}"
        source, builder_type = Source(name=name, num_utterances=config.num_utterances), Espeak
        datasets.package_folder("espeakng_loader", espeak.ESPEAK)
    else:
        if config.root is None:
            raise UserError(
                "expected --data.root, the folder with the speakers of TIMIT, got none: "
                f"get the files from {formats.TIMIT_SITE}"
            )
        if not config.root.is_dir():
            raise UserError(f"expected a folder for --data.root, found none at {config.root}")
        found = sorted(path for path in config.root.rglob("*") if path.is_file())
        name = f"{datasets.fingerprint(found)}-fold{config.fold}"
        source = Source(name=name, root=config.root, fold=config.fold)
        builder_type = Timit
    data_dir = None if config.cache_dir is None else str(config.cache_dir)
    builder = builder_type(data_dir=data_dir, config=source)
    datasets.prepare(builder, builder.broken)
    return builder, {split: split for split in builder.info.splits}


def read(builder: tfds.core.DatasetBuilder, split: str) -> tf.data.Dataset:
    """Streams the records of a split (see the module) from disk, in a fixed order."""
    records = builder.as_dataset(split=split, shuffle_files=False)
    return records.map(lambda record: {**record, **record["phones"]})


def example_arguments() -> list[str]:
    """Arguments for `predict` with a sentence in a voice that is not in training."""
    path = Path(tfds.core.constants.DATA_DIR).expanduser() / "espeak_example.wav"
    if not path.exists():
        waveform, _ = espeak.Synthesizer().say(
            "Nobody had heard this sentence before.", speakers.voice("test", 0)
        )
        with files.replacing(path) as temporary:
            temporary.write_bytes(sound_files.encode(waveform))
    return ["--wav", str(path)]
