"""Sounds with phones in the layout of TIMIT."""

from pathlib import Path

import numpy as np
import pytest

from apps.phoneme_tagging import config, data
from common.inputs import sound_files


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, num_samples).clip(-1, 1)


def write_utterance(folder: Path, name: str, phn: str, *, num_samples: int = 8000, upper=False):
    folder.mkdir(parents=True, exist_ok=True)
    suffixes = (".WAV", ".PHN") if upper else (".wav", ".phn")
    (folder / name).with_suffix(suffixes[0]).write_bytes(
        sound_files.encode(noise(num_samples, len(name)))
    )
    (folder / name).with_suffix(suffixes[1]).write_text(phn)


GOOD = "0 2000 h#\n2000 5000 iy\n5000 7900 h#\n"


def write_recordings(root: Path, *, num_speakers: int, content: str, suffix: str, per_speaker=2):
    for number in range(num_speakers):
        folder = root / f"speaker{number}" if num_speakers > 1 else root
        folder.mkdir(parents=True, exist_ok=True)
        for take in range(per_speaker):
            path = folder / f"take{take}"
            path.with_suffix(".wav").write_bytes(sound_files.encode(noise(8000, take)))
            path.with_suffix(suffix).write_text(content)


def load(name: str, cache_dir: Path, part: str, **options) -> list[dict]:
    """The records of a part."""
    options = config.DataConfig(name=name, cache_dir=cache_dir, **options)
    return list(data.load_split(options, part).as_numpy_iterator())


def load_parts(name: str, root: Path, cache_dir: Path, **options) -> dict[str, list]:
    parts = ("train", "validation", "test")
    return {part: load(name, cache_dir, part, root=root, **options) for part in parts}


@pytest.fixture
def timit(tmp_path) -> Path:
    """Thirty training speakers and one for test, as published: upper case."""
    root = tmp_path / "timit"
    for number in range(30):
        for name in ("SA1", "SI1", "SX2"):
            write_utterance(root / "TRAIN" / "DR1" / f"FAB{number}", name, GOOD, upper=True)
    write_utterance(root / "TEST" / "DR1" / "MAB0", "SI3", GOOD, upper=True)
    return root


@pytest.fixture(scope="session")
def phone_run(tiny_run) -> Path:
    return tiny_run("phoneme_tagging")
