"""The data sets of phoneme tagging, as a tensorflow-datasets builder.

Every record is one utterance:

    waveform      int16 (samples,) at 16 kHz          utterance_id, speaker, text   string
    phone         string (phones,), of TIMIT's 61     start, end  int64 (phones,), samples

No speaker of training stands in validation or test, and of espeak and TIMIT no text; of flite, with
few voices, no text alone. A user's own recordings are divided by speaker where there are three or
more, else by file.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from apps.phoneme_tagging.config import APP, DataConfig
from apps.phoneme_tagging.corpora import (
    alignment,
    espeak,
    flite,
    phones,
    recordings,
    segments,
    sentences,
    timit,
)
from apps.phoneme_tagging.corpora.segments import Segment
from apps.phoneme_tagging.corpora.timit import Utterance
from common.inputs import builders, datasets, sound_files
from common.runs import files
from common.runs.errors import UserError

VERSIONS = {"espeak": espeak.version, "flite": flite.version}  # of what speaks sentences
SUFFIXES = {  # of the labels that are read
    "folder": (*recordings.TIMED, *recordings.WORDS),
    "textgrid": (".TextGrid",),
    "align": recordings.WORDS,
}
Recording = tuple[str, str, np.ndarray, list[Segment]]  # speaker, text, waveform, phones


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """A data set and its options; `name` changes with its files."""

    options: DataConfig = dataclasses.field(default_factory=DataConfig)
    phone_map: dict[str, str] = dataclasses.field(default_factory=dict)


class Utterances(builders.Builder):
    """Stores the records of any of the data sets.

    Attributes:
        broken: the utterances that cannot be used.
    """

    name = APP
    VERSION = tfds.core.Version("2.0.0")

    def __init__(self, *, config: Source, **kwargs):
        self.broken = datasets.BrokenRows(config.options.name)
        super().__init__(config=config, **kwargs)

    def read(self, split: str) -> tf.data.Dataset:
        """Streams the records (see the module) of a split from disk, in a fixed order."""
        records = self.as_dataset(split=split, shuffle_files=False)
        return records.map(lambda record: {**record, **record["phones"]})

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

    def _split_generators(self, dl_manager):
        options = self.builder_config.options
        if options.name in VERSIONS:
            parts = sentences.by_part(options.num_utterances)
            return {
                part: self._generate_examples(self._spoken(part, parts[part])) for part in parts
            }
        if options.name == "timit":
            parts = _timit_parts(options.root, fold=options.fold)
        else:
            utterances = recordings.find(options.root, SUFFIXES[options.name])
            parts = recordings.parts(utterances, fold=options.fold)
        return {part: self._generate_examples(self._recorded(parts[part])) for part in parts}

    def _generate_examples(self, rows: Iterable[tuple[str, str, Callable[[], Recording]]]):
        """Records of (key, where it comes from, how to read it)."""
        for key, where, read in rows:
            try:
                speaker, text, waveform, spoken = read()
            except (UserError, ValueError, OSError) as error:
                self.broken.use(where, str(error))
                continue
            if self.broken.use(where, segments.problem(spoken, len(waveform))):
                yield (
                    key,
                    {
                        "waveform": np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16),
                        "utterance_id": key,
                        "speaker": speaker,
                        "text": text,
                        "phones": [segment._asdict() for segment in spoken],
                    },
                )
        self.broken.check()

    def _spoken(self, part: str, texts: list[str]) -> Iterator:
        for number, text in enumerate(texts):
            key = f"{part}-{number:05d}"
            yield key, f"{key}, {text!r}", functools.partial(self._speak, part, number, text)

    def _speak(self, part: str, number: int, text: str) -> Recording:
        if self.builder_config.options.name == "espeak":
            voice = espeak.choose_voice(part, number)
            return voice.variant, text, *self._synthesizer.say(text, voice)
        reading = flite.choose_reading(part, number)
        return reading.voice, text, *flite.say(text, reading)

    @functools.cached_property
    def _synthesizer(self) -> espeak.Synthesizer:
        return espeak.Synthesizer()

    def _recorded(self, utterances: list[Utterance]) -> Iterator:
        for utterance in utterances:
            read = functools.partial(self._read_recording, utterance)
            yield utterance.key, str(utterance.labels), read

    def _read_recording(self, utterance: Utterance) -> Recording:
        waveform = sound_files.read(utterance.sound)
        text, spoken = self._labels(utterance, waveform)
        return utterance.speaker, text, waveform, spoken

    def _labels(self, utterance: Utterance, waveform: np.ndarray) -> tuple[str, list[Segment]]:
        """Text, where there is one, and phones; a ValueError says what is wrong."""
        path, options = utterance.labels, self.builder_config.options
        suffix = path.suffix.lower()
        if suffix in recordings.WORDS:
            text = path.read_text(encoding="utf-8-sig").strip()
            aligned = self._aligner.align(waveform, alignment.words_of(text))
            return text, segments.tidy(segments.divide_stops(aligned, waveform))
        if suffix == ".phn":
            labelled = timit.read_phn(path)
        elif suffix == ".ctm":
            intervals = recordings.read_ctm(path, utterance.sound.stem)
            labelled = recordings.in_samples(intervals, len(waveform))
        else:
            intervals = recordings.read_textgrid(path, options.tier)
            labelled = recordings.in_samples(intervals, len(waveform))
        named = [
            (phones.named(segment.phone, self.builder_config.phone_map), segment)
            for segment in labelled
        ]
        spoken = [segment._replace(phone=phone) for phone, segment in named if phone is not None]
        return "", spoken if options.name == "timit" else segments.tidy(spoken)

    @functools.cached_property
    def _aligner(self) -> alignment.Aligner:
        cache = Path(self._data_dir_root) / "alignments"
        return alignment.Aligner(cache, self.builder_config.options.pronunciations)


def _timit_parts(root: Path, *, fold: int) -> dict[str, list[Utterance]]:
    """Validation are speakers of the official training part; test is the official test part."""
    parts = timit.find(root)
    speakers = {utterance.speaker for utterance in parts["train"]}
    held_back = recordings.held_back(speakers, fold=fold, least=2)
    divided: dict[str, list[Utterance]] = {"train": [], "validation": []}
    for utterance in parts.pop("train"):
        part = "validation" if utterance.speaker in held_back else "train"
        divided[part].append(utterance)
    return divided | parts


def make_builder(config: DataConfig) -> Utterances:
    """The builder of a data set, before anything but the list of its files is read.

    Raises:
        UserError: the folder, a table, the package of espeak or the program flite is missing.
    """
    phone_map = phones.read_map(config.phone_map)
    if config.name in VERSIONS:
        versions = [VERSIONS[config.name](), str(sorted(sentences.versions().items()))]
        state = f"{datasets.fingerprint([], facts=versions)}-{config.num_utterances}"
    else:
        get = f": get the files from {timit.SITE}" if config.name == "timit" else ""
        if config.root is None:
            raise UserError(f"expected --data.root, the folder with the recordings, got none{get}")
        if not config.root.is_dir():
            raise UserError(f"expected a folder for --data.root, found none at {config.root}{get}")
        tables = [path for path in (config.phone_map, config.pronunciations) if path is not None]
        paths = sorted(path for path in config.root.rglob("*") if path.is_file())
        fingerprint = datasets.fingerprint([*paths, *tables], facts=[config.tier or ""])
        state = f"{fingerprint}-fold{config.fold}"
    source = Source(name=f"{config.name}-{state}", options=config, phone_map=phone_map)
    data_dir = None if config.cache_dir is None else str(config.cache_dir)
    return Utterances(config=source, data_dir=data_dir)


def example_arguments() -> list[str]:
    """Arguments for `predict` with a sentence in a voice that is not in training."""
    path = Path(tfds.core.constants.DATA_DIR).expanduser() / "espeak_example.wav"
    if not path.exists():
        waveform, _ = espeak.Synthesizer().say(
            "Nobody had heard this sentence before.", espeak.choose_voice("test", 0)
        )
        with files.replacing(path) as temporary:
            temporary.write_bytes(sound_files.encode(waveform))
    return ["--wav", str(path)]
