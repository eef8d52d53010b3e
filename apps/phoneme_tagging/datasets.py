"""The data sets of phoneme tagging, as tensorflow-datasets builders.

Every record is one utterance:

    waveform      int16 (samples,) at 16 kHz          utterance_id, speaker, text   string
    phone         string (phones,), of TIMIT's 61     start, end  int64 (phones,), samples

No speaker of training stands in validation or test, and of espeak and TIMIT no text. One's own
recordings are divided by speaker where there are three or more, else by file.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds

from apps.phoneme_tagging import espeak, formats, recordings, sentences, speakers
from apps.phoneme_tagging.config import DataConfig
from common import datasets, files, sound_files


class Espeak(recordings.Utterances):
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
                yield self.record(key, waveform, voice.variant, text, segments)
        self.broken.check()


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
        UserError: the folder, a table or the package of espeak is missing.
    """
    if config.name == "espeak":
        made_of = f"{espeak.version()} {sorted(sentences.versions().items())}"
        state = hashlib.sha256(made_of.encode()).hexdigest()[:12]
        name = f"{state}-{config.num_utterances}"
        source = recordings.Source(name=name, num_utterances=config.num_utterances)
        builder_type = Espeak
        datasets.package_folder("espeakng_loader", espeak.ESPEAK)
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
