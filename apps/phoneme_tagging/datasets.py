"""The data sets of phoneme tagging, as tensorflow-datasets builders.

Every record is one utterance:

    waveform      int16 (samples,) at 16 kHz          utterance_id, speaker, text   string
    phone         string (phones,), of TIMIT's 61     start, end  int64 (phones,), samples

No speaker of training stands in validation or test, and of espeak and TIMIT no text; of flite, with
few voices, no text alone. One's own recordings are divided by speaker where there are three or
more, else by file.
"""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from apps.phoneme_tagging import espeak, flite, formats, recordings, sentences, speakers
from apps.phoneme_tagging.config import DataConfig
from apps.phoneme_tagging.formats import Segment
from common.inputs import datasets, sound_files
from common.runs import files


class _Spoken(recordings.Utterances):
    """What the synthesisers share: sentences, each spoken in the voice of its number."""

    def _say(self, part: str, number: int, text: str) -> tuple[str, np.ndarray, list[Segment]]:
        """Speaker, waveform and phones; a ValueError says what is wrong."""
        raise NotImplementedError

    def _split_generators(self, dl_manager):
        counts = speakers.counts(self.builder_config.num_utterances)
        return {
            part: self._generate_examples(part, texts)
            for part, texts in sentences.by_part(counts).items()
        }

    def _generate_examples(self, part: str, texts: list[str]) -> Iterator[tuple[str, dict]]:
        for number, text in enumerate(texts):
            key = f"{part}-{number:05d}"
            try:
                speaker, waveform, segments = self._say(part, number, text)
            except ValueError as error:
                self.broken.use(f"{key}, {text!r}", str(error))
                continue
            if self.broken.use(f"{key}, {text!r}", formats.problem(segments, len(waveform))):
                yield self.record(key, waveform, speaker, text, segments)
        self.broken.check()


class Espeak(_Spoken):
    """Sentences spoken by espeak-ng in many voices; phone times are exact."""

    VERSION = tfds.core.Version("1.2.0")  # silence at both ends

    @functools.cached_property
    def _synthesizer(self) -> espeak.Synthesizer:
        return espeak.Synthesizer()

    def _say(self, part, number, text):
        voice = speakers.voice(part, number)
        return voice.variant, *self._synthesizer.say(text, voice)


class Flite(_Spoken):
    """Sentences spoken by CMU Flite in four voices of people; stops have their closures apart."""

    def _say(self, part, number, text):
        reading = speakers.reading(part, number)
        return reading.voice, *flite.say(text, reading)


SPOKEN = {"espeak": (Espeak, espeak.version), "flite": (Flite, flite.version)}


def make_builder(config: DataConfig) -> tuple[tfds.core.DatasetBuilder, dict[str, str]]:
    """Prepares a data set if need be; returns its builder and the TFDS split of each of our splits.

    Raises:
        UserError: files or espeak are missing or damaged, or too many utterances are broken.
    """
    builder = unprepared(config)
    datasets.prepare(builder, builder.broken)
    return builder, {split: split for split in builder.info.splits}


def unprepared(config: DataConfig) -> recordings.Utterances:
    """The builder of a data set, before anything but the list of its files is read.

    Raises:
        UserError: the folder, a table, the package of espeak or the program flite is missing.
    """
    if config.name in SPOKEN:
        builder_type, version = SPOKEN[config.name]
        made_of = f"{version()} {sorted(sentences.versions().items())}"
        state = hashlib.sha256(made_of.encode()).hexdigest()[:12]
        name = f"{state}-{config.num_utterances}"
        source = recordings.Source(name=name, num_utterances=config.num_utterances)
    else:
        source, builder_type = recordings.source(config), recordings.BUILDERS[config.name]
    data_dir = None if config.cache_dir is None else str(config.cache_dir)
    return builder_type(data_dir=data_dir, config=source)


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
