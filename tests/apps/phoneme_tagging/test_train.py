"""Trainings of a few steps: what takes memory is learnt, and the paper's preset trains."""

import csv
from dataclasses import replace

import numpy as np

from apps.phoneme_tagging import train
from apps.phoneme_tagging.config import PAPER, TINY
from common.inputs import sound_files


def melody(draw) -> tuple[np.ndarray, str]:
    """Tones of 100 ms as phones: every second sounds the same, and is called after the one before.

    Both names are as common: who hears a frame alone tells at most three of four.
    """
    order = draw.permutation(["low", "low", "high", "high"])
    phones = [phone for tone in order for phone in {"low": ("ae", "iy"), "high": ("m", "s")}[tone]]
    hertz = [pitch for tone in order for pitch in ({"low": 400, "high": 3000}[tone], 1000)]
    times = np.arange(1600) / 16_000
    sound = np.concatenate([0.3 * np.sin(2 * np.pi * pitch * times) for pitch in hertz])
    lines = [f"{1600 * n} {1600 * (n + 1)} {phone}\n" for n, phone in enumerate(phones)]
    return sound, "".join(lines)


def test_what_takes_memory_is_learnt(tmp_path):
    draw = np.random.default_rng(0)
    for number in range(10):  # two speakers are held back
        folder = tmp_path / "timit" / f"speaker{number}"
        folder.mkdir(parents=True)
        sound, labels = melody(draw)
        (folder / "sx1.wav").write_bytes(sound_files.encode(sound))
        (folder / "sx1.phn").write_text(labels)
    config = replace(
        TINY,
        data=replace(TINY.data, name="timit", root=tmp_path / "timit", cache_dir=tmp_path / "tfds"),
        train=replace(TINY.train, epochs=10, patience=10, batch_size=2, learning_rate=3e-2),
    )
    run = train.train(config, tmp_path / "run")
    with (run.path / "history.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["accuracy"]) > 0.97 and float(last["val_accuracy"]) > 0.97


def test_the_preset_of_the_paper_trains(tmp_path, cache_dir):
    """Eight utterances, one a batch: 39 features, 93 units a direction."""
    config = replace(
        PAPER,
        data=replace(TINY.data, cache_dir=cache_dir, max_utterances=8),
        train=replace(PAPER.train, epochs=1),
    )
    run = train.train(config, tmp_path / "run")
    [row] = np.genfromtxt(run.path / "history.csv", delimiter=",", names=True, ndmin=1)
    assert 0 < row["loss"] < 1.1 * np.log(61)
    model = run.load_model()
    assert model.input["features"].shape == (None, None, 39)
    assert model.get_layer("frame_lstm").output[0].shape[-1] == 2 * 93
