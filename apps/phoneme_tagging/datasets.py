"""The data sets of phoneme tagging, as tensorflow-datasets builders.

Every record is one utterance:

    waveform      int16 (samples,) at 16 kHz          utterance_id, speaker, text   string
    phone         string (phones,), of TIMIT's 61     start, end  int64 (phones,), samples

No speaker of training stands in validation or test, and of espeak and TIMIT no text. A user's own
recordings are divided by speaker where there are three or more, else by file.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from apps.phoneme_tagging.config import DataConfig
from apps.phoneme_tagging.corpora import alignment, espeak, phones, recordings
from apps.phoneme_tagging.corpora.phones import Segment
from common.inputs import builders, datasets, sound_files
from common.runs import files
from common.runs.errors import UserError

Content = tuple[str, np.ndarray, list[Segment]]  # text, waveform float (samples,), phones
Row = tuple[str, str, str, Callable[[], Content]]  # key, speaker, where it comes from, reader


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """What a builder reads; `name` changes with its files. See `make_builder`."""

    num_utterances: int = 0
    root: Path = Path()
    fold: int = 0
    suffixes: tuple[str, ...] = ()  # of the labels of a user; none for TIMIT
    tier: str | None = None
    phone_map: dict[str, str] = dataclasses.field(default_factory=dict)
    pronunciations: Path | None = None


class Utterances(builders.Builder):
    """Stores the records of a data set.

    Attributes:
        broken: the utterances that cannot be used.
    """

    VERSION = tfds.core.Version("2.0.0")

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

    def _generate_examples(self, rows: Iterable[Row]):
        for key, speaker, where, read in rows:
            try:
                text, waveform, spoken = read()
                problem = phones.problem(spoken, len(waveform))
            except (UserError, ValueError, OSError) as error:
                self.broken.use(where, str(error))
                continue
            if self.broken.use(where, problem):
                record = {
                    "waveform": np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16),
                    "utterance_id": key,
                    "speaker": speaker,
                    "text": text,
                    "phones": [segment._asdict() for segment in spoken],
                }
                yield key, record
        self.broken.check()


class Espeak(Utterances):
    """Sentences of package documentation, spoken by espeak-ng; each part has its own voices."""

    def _split_generators(self, dl_manager):
        parts = espeak.sentences(self.builder_config.num_utterances)
        synthesizer = espeak.Synthesizer()

        def speak(text: str, voice: espeak.Voice) -> Content:
            return text, *synthesizer.say(text, voice)

        def rows(part: str) -> Iterable[Row]:
            for number, text in enumerate(parts[part]):
                key, voice = f"{part}-{number:05d}", espeak.choose_voice(part, number)
                yield key, voice.variant, key, functools.partial(speak, text, voice)

        return {part: self._generate_examples(rows(part)) for part in parts}


class Recordings(Utterances):
    """TIMIT, or recordings of a user."""

    def _split_generators(self, dl_manager):
        source = self.builder_config
        if source.suffixes:
            parts = recordings.find_own(source.root, fold=source.fold, suffixes=source.suffixes)
        else:
            parts = recordings.find_timit(source.root, fold=source.fold)
        return {part: self._generate_examples(map(self._row, parts[part])) for part in parts}

    def _row(self, utterance: recordings.Utterance) -> Row:
        read = functools.partial(self._read, utterance)
        return utterance.key, utterance.speaker, str(utterance.labels), read

    def _read(self, utterance: recordings.Utterance) -> Content:
        path, waveform = utterance.labels, sound_files.read(utterance.sound)
        suffix = path.suffix.lower()
        if suffix in recordings.WORDS:
            text = files.read_text(path).strip()
            return text, waveform, self._aligner.align(waveform, alignment.words_of(text))
        if suffix == ".phn":
            labelled = recordings.read_phn(path)
        elif suffix == ".ctm":
            labelled = recordings.read_ctm(path, utterance.sound.stem, len(waveform))
        else:
            labelled = recordings.read_textgrid(path, self.builder_config.tier, len(waveform))
        return "", waveform, phones.renamed(labelled, self.builder_config.phone_map)

    @functools.cached_property
    def _aligner(self) -> alignment.Aligner:
        return alignment.Aligner(self.builder_config.pronunciations)


def make_builder(config: DataConfig) -> Utterances:
    """The builder of a data set, before anything but the list of its files is read.

    Raises:
        UserError: the folder, a table or the package of espeak is missing.
    """
    data_dir = None if config.cache_dir is None else str(config.cache_dir)
    if config.name == "espeak":
        packages = {**espeak.PACKAGES, "espeakng_loader": espeak.ESPEAK}
        for module, requirement in packages.items():
            files.package_folder(module, requirement)
        names = [requirement.partition("==")[0] for requirement in packages.values()]
        facts = [f"{package} {metadata.version(package)}" for package in names]
        state = f"{datasets.fingerprint([], facts=facts)}-{config.num_utterances}"
        source = Source(name=f"espeak-{state}", num_utterances=config.num_utterances)
        return Espeak(config=source, data_dir=data_dir)
    root = config.root
    if root is None or not root.is_dir():
        raise UserError(
            f"expected --data.root, the folder with the recordings, found none at {root}"
            + (f": get the files from {recordings.SITE}" if config.name == "timit" else "")
        )
    tables = {"phone-map": config.phone_map, "pronunciations": config.pronunciations}
    for option, path in tables.items():
        if path is not None and not path.is_file():
            raise UserError(f"expected a file for --data.{option}, found none at {path}")
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    paths += [path for path in tables.values() if path is not None]
    state = datasets.fingerprint(paths, facts=[config.name, config.tier or ""])
    source = Source(
        name=f"{config.name}-{state}-fold{config.fold}",
        root=root,
        fold=config.fold,
        suffixes=recordings.LABELS.get(config.name, ()),
        tier=config.tier,
        phone_map={} if config.phone_map is None else phones.read_map(config.phone_map),
        pronunciations=config.pronunciations,
    )
    return Recordings(config=source, data_dir=data_dir)


def example_arguments() -> list[str]:
    """Arguments for `predict` with a sentence in a voice that is not in training."""
    path = Path(tfds.core.constants.DATA_DIR).expanduser() / "espeak_example.wav"
    if not path.exists():
        voice = espeak.choose_voice("test", 0)
        waveform, _ = espeak.Synthesizer().say("Nobody had heard this sentence before.", voice)
        with files.replacing(path) as temporary:
            temporary.write_bytes(sound_files.encode(waveform))
    return ["--wav", str(path)]
