"""Builders for recordings with labels: TIMIT, phones with times, and transcripts that are aligned.

Their records are described in datasets.py.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from apps.phoneme_tagging import (
    alignment,
    closures,
    ctm,
    folders,
    formats,
    labels,
    speakers,
    textgrids,
)
from apps.phoneme_tagging.config import DataConfig
from apps.phoneme_tagging.formats import Segment, Utterance
from common.inputs import builders, datasets, sound_files
from common.runs.errors import UserError


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """Where the files are or what is made; its name changes when they do."""

    root: Path | None = None
    fold: int = 0
    num_utterances: int = 0
    tier: str | None = None
    phone_map: dict[str, str] = dataclasses.field(default_factory=dict)
    pronunciations: Path | None = None


class Utterances(builders.Builder):
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

    def record(
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


class _Recordings(Utterances):
    """What the sets of files share: recordings, each with a file of labels."""

    def _parts(self) -> dict[str, list[Utterance]]:
        raise NotImplementedError

    def _label(self, one: Utterance, waveform: np.ndarray) -> tuple[str, list[Segment]]:
        """Text, where there is one, and phones; a ValueError says what is wrong."""
        raise NotImplementedError

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples(ones) for part, ones in self._parts().items()}

    def _generate_examples(self, utterances: list[Utterance]) -> Iterator[tuple[str, dict]]:
        for one in utterances:
            try:
                waveform = sound_files.read(one.sound)
                text, segments = self._label(one, waveform)
                wrong = formats.problem(segments, len(waveform))
            except (UserError, ValueError, OSError) as error:
                self.broken.use(str(one.labels), str(error))
                continue
            if self.broken.use(str(one.labels), wrong):
                yield self.record(one.key, waveform, one.speaker, text, segments)
        self.broken.check()

    def _phones(self, labelled: Iterable[Segment]) -> list[Segment]:
        """The same with TIMIT's phones in place of labels, without what is no phone."""
        named = [(labels.phone(one.phone, self.builder_config.phone_map), one) for one in labelled]
        return [one._replace(phone=phone) for phone, one in named if phone is not None]


class Timit(_Recordings):
    """TIMIT (Garofolo et al. 1993, https://catalog.ldc.upenn.edu/LDC93S1), sentences SI and SX.

    Validation are speakers of the official training part; `test` is the official test part.
    """

    def _parts(self):
        found = formats.find_timit(self.builder_config.root)
        held_back = speakers.held_back(
            {one.speaker for one in found["train"]}, fold=self.builder_config.fold, least=2
        )
        parts: dict[str, list[Utterance]] = {"train": [], "validation": []}
        for one in found.pop("train"):
            parts["validation" if one.speaker in held_back else "train"].append(one)
        return parts | found

    def _label(self, one, waveform):
        return "", self._phones(formats.read_phn(one.labels))


class RecordingFolder(_Recordings):
    """A folder of recordings with labels or transcripts beside them (see folders.py)."""

    VERSION = tfds.core.Version("1.1.0")  # closures of aligned stops are phones
    SUFFIXES = (*folders.TIMED, *folders.WORDS)

    def _parts(self):
        options = self.builder_config
        return folders.parts(folders.find(options.root, self.SUFFIXES), fold=options.fold)

    @functools.cached_property
    def _aligner(self) -> alignment.Aligner:
        cache = Path(self._data_dir_root) / "alignments"
        return alignment.Aligner(cache, self.builder_config.pronunciations)

    def _label(self, one, waveform):
        kind = one.labels.suffix.lower()
        if kind in folders.WORDS:
            text = one.labels.read_text(encoding="utf-8-sig").strip()
            aligned = self._aligner.align(waveform, alignment.words_of(text))
            return text, formats.tidy(closures.divide(aligned, waveform))
        if kind == ".phn":
            segments = formats.read_phn(one.labels)
        elif kind == ".ctm":
            segments = textgrids.in_samples(ctm.read(one.labels, one.sound.stem), len(waveform))
        else:
            intervals = textgrids.read(one.labels, self.builder_config.tier)
            segments = textgrids.in_samples(intervals, len(waveform))
        return "", formats.tidy(self._phones(segments))


class TextGrid(RecordingFolder):
    """The same, where other files than TextGrids are left alone."""

    SUFFIXES = (".TextGrid",)


class Align(RecordingFolder):
    """The same, where transcripts are aligned although there may be phones with times."""

    SUFFIXES = folders.WORDS


BUILDERS = {"timit": Timit, "folder": RecordingFolder, "textgrid": TextGrid, "align": Align}


def source(config: DataConfig) -> Source:
    """The files of a data set and how they are read, under a name that changes when they do.

    Raises:
        UserError: the folder, or a table, is missing or damaged.
    """
    get = f": get the files from {formats.TIMIT_SITE}" if config.name == "timit" else ""
    if config.root is None:
        raise UserError(f"expected --data.root, the folder with the recordings, got none{get}")
    if not config.root.is_dir():
        raise UserError(f"expected a folder for --data.root, found none at {config.root}{get}")
    phone_map = labels.read_map(config.phone_map)
    tables = [path for path in (config.phone_map, config.pronunciations) if path is not None]
    found = sorted(path for path in config.root.rglob("*") if path.is_file())
    tier = "" if config.tier is None else f"-{hashlib.sha256(config.tier.encode()).hexdigest()[:6]}"
    return Source(
        name=f"{datasets.fingerprint([*found, *tables])}{tier}-fold{config.fold}",
        root=config.root,
        fold=config.fold,
        tier=config.tier,
        phone_map=phone_map,
        pronunciations=config.pronunciations,
    )
