"""Long recordings in windows, and recordings that come in chunks: the same as the whole."""

import io
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.io import wavfile

from apps.phoneme_tagging import model, predict
from apps.phoneme_tagging.config import ModelConfig
from apps.phoneme_tagging.tagging import streaming, viterbi
from apps.phoneme_tagging.tagging.streaming import Stream
from common.inputs import audio, sound_files
from common.inputs.text import Vocabulary
from common.runs.errors import UserError

from .conftest import noise

PHONES = Vocabulary(("h#", "iy", "s", "ae", "t", "m"))


def make_predictor(**options) -> predict.Predictor:
    """An untrained run whose phones change often."""
    keras.utils.set_random_seed(3)
    config = replace(ModelConfig(units=12, dropout=0.0), **options)
    sound = babble(32_000)
    features, _ = audio.features(
        sound[None], tf.constant([len(sound)]), kind=config.features, num_mels=config.num_mels
    )
    normalization = model.Normalization(
        *(one.numpy() for one in tf.nn.moments(features[0], axes=[0]))
    )
    network = model.build_model(config, num_phones=len(PHONES), normalization=normalization)
    draw = np.random.default_rng(0)
    kernel, _ = network.get_layer("logits").trainable_weights
    kernel.assign(draw.normal(0, 3, kernel.shape))
    counts = viterbi.PhoneCounts(draw.integers(1, 9, (6, 6)).astype(float), np.ones(6))
    decoder = viterbi.Decoder(counts)
    return predict.Predictor(model.Tagger(network, PHONES, decoder, config))


def babble(num_samples: int) -> np.ndarray:
    """Noise whose loudness and colour change every 80 ms."""
    draw = np.random.default_rng(1)
    sound = noise(num_samples, 2)
    smooth = np.convolve(sound, np.ones(8) / 8, "same")
    each = np.repeat(draw.random((num_samples // 1280 + 1, 2)), 1280, axis=0)[:num_samples]
    return (each[:, 0] * sound + each[:, 1] * smooth).astype(np.float32)


@pytest.fixture(scope="module")
def both_ways():
    return make_predictor()


def test_joins_of_windows_change_nothing(both_ways):
    waveform = babble(16_000 * 12 + 77)
    whole = streaming.logits_in_windows(both_ways.hear, waveform)
    cut = streaming.logits_in_windows(both_ways.hear, waveform, window=90, margin=60)
    assert cut.shape == whole.shape == (1200, len(PHONES))
    np.testing.assert_allclose(cut, whole, atol=1e-3)
    # Without margins the joins do show, and nothing far from them does.
    bare = streaming.logits_in_windows(both_ways.hear, waveform, window=300, margin=0)
    difference = np.abs(bare - whole).max(axis=1)
    assert difference[295:305].max() > 0.05
    assert difference[np.abs(np.arange(1200) % 300 - 150) < 60].max() < 1e-2


def test_a_long_recording_has_the_phones_of_the_whole(both_ways, monkeypatch):
    waveform, hear, sizes = babble(16_000 * 4), both_ways.hear, []
    whole = both_ways.tag(waveform).phones
    monkeypatch.setattr(streaming.logits_in_windows, "__kwdefaults__", {"window": 70, "margin": 60})
    monkeypatch.setattr(both_ways, "hear", lambda sound: sizes.append(len(sound)) or hear(sound))
    assert [phone[:3] for phone in both_ways.tag(waveform).phones] == [phone[:3] for phone in whole]
    assert len(whole) > 20
    assert max(sizes) <= (70 + 2 * 60) * 160  # memory


def in_chunks(stream: Stream, waveform: np.ndarray, largest: int) -> tuple[list, list]:
    draw, place, phones = np.random.default_rng(largest), 0, []
    while place < len(waveform):
        size = int(draw.integers(0, largest))
        phones += stream.feed(waveform[place : place + size])
        place += size
    return phones, stream.finish()


@pytest.mark.parametrize(
    ("options", "largest"),
    [
        ({"delay_frames": 7, "layers": 2}, 2500),
        ({"cell": "gru", "features": "log_mel"}, 9000),
        ({"cell": "peephole", "delay_frames": 2}, 30_000),
    ],
)
def test_chunks_give_what_the_whole_gives(options, largest):
    predictor = make_predictor(direction="forward", **options)
    waveform = babble(16_000 * 2 + 99)
    whole = predictor.tag(waveform).phones
    assert len(whole) > 10
    phones, rest = in_chunks(predictor.stream(), waveform, largest)
    assert [phone[:3] for phone in phones + rest] == [phone[:3] for phone in whole]
    probability, expected = ([one.probability for one in ones] for ones in (phones + rest, whole))
    np.testing.assert_allclose(probability, expected, atol=1e-4)
    assert len(phones) > len(whole) / 2  # while it was coming in


@pytest.mark.parametrize("num_samples", [0, 900])
def test_the_shortest_streams_end_too(num_samples):
    stream = make_predictor(direction="forward", delay_frames=9).stream()
    phones = stream.feed(noise(num_samples)) + stream.finish()
    assert bool(phones) == (num_samples >= audio.FRAME_SHIFT)


@pytest.mark.parametrize(
    "options",
    [{}, {"direction": "forward", "normalization": "utterance"},
     {"direction": "forward", "cell": "mlp"}],
)  # fmt: skip
def test_a_run_that_needs_the_whole_recording_cannot_be_streamed(options):
    with pytest.raises(UserError, match=r"expected a run of --model\.direction forward, .* got "):
        make_predictor(**options).stream()


def test_samples_that_are_no_numbers_stop_a_stream():
    stream = make_predictor(direction="forward").stream()
    with pytest.raises(UserError, match="NaN"):
        stream.feed(np.array([0.0, np.nan]))


@pytest.fixture
def tag_piped(monkeypatch, capsys, tmp_path):
    """`tag_piped(predictor, encoded, **options)`: what `predict --wav -` prints, line by line."""

    def tag(predictor, encoded: bytes | None, **options) -> list[str]:
        piped = None if encoded is None else SimpleNamespace(buffer=io.BytesIO(encoded))
        monkeypatch.setattr(sys, "stdin", piped)
        monkeypatch.setattr(predict.Predictor, "load", lambda run_dir: predictor)
        predict.main(run_dir=tmp_path, wav=(predict.STANDARD_INPUT,), **options)
        return capsys.readouterr().out.splitlines()

    return tag


def as_printed(phones) -> list[str]:
    return [
        f"{start_s:8.3f} {end_s:8.3f}  {name:<5} {p:6.1%}" for name, start_s, end_s, p in phones
    ]


def test_standard_input_is_tagged_while_it_comes(tag_piped):
    predictor = make_predictor(direction="forward", delay_frames=3)
    pcm = np.round(babble(16_000).clip(-1, 1) * 32767).astype("<i2")
    printed = tag_piped(predictor, pcm.tobytes() + b"x")
    assert printed == as_printed(predictor.tag(pcm / 2.0**15).phones)


@pytest.mark.parametrize("options", [{}, {"direction": "forward", "delay_frames": 3}])
@pytest.mark.parametrize("rate", [16_000, 8000])
def test_a_sound_file_from_standard_input_is_read_as_one(tag_piped, tmp_path, options, rate):
    predictor = make_predictor(**options)
    wavfile.write(tmp_path / "speech.wav", rate, babble(9000).astype(np.float32))
    phones = predictor.tag(sound_files.read(tmp_path / "speech.wav")).phones
    encoded = (tmp_path / "speech.wav").read_bytes()
    assert tag_piped(predictor, encoded) == as_printed(phones)
    streamed = encoded[:4] + b"\xff" * 4 + encoded[8:]
    [line] = tag_piped(predictor, streamed, json=True, ctm=tmp_path / "out.ctm")
    assert json.loads(line)["phones"] == [phone._asdict() for phone in phones]
    assert len((tmp_path / "out.ctm").read_text().splitlines()) == len(phones)


FILES = (
    b"fLaC",
    b"OggS",
    b"ID3\4",
    b"FORM",
    b"RIFX",
    b"RF64",
    b"\x1aE\xdf\xa3",
    b"\0\0\0 ftypM4A ",
)


@pytest.mark.parametrize("magic", FILES)
def test_sound_files_of_other_kinds_are_not_taken_for_samples(tag_piped, magic):
    with pytest.raises(UserError, match="expected a RIFF WAVE or NIST SPHERE file, got 4000 bytes"):
        tag_piped(make_predictor(direction="forward"), magic.ljust(4000, b"\1"))


@pytest.mark.parametrize(
    "encoded", [None, b"", b"x", bytes(319), b"RIFF", b"RIFF\xff\xff\xff\xffWAVE"]
)
@pytest.mark.parametrize("direction", ["forward", "both"])
def test_nothing_from_standard_input_is_an_error(tag_piped, encoded, direction, tmp_path):
    for option in ({}, {"json": True}, {"ctm": tmp_path / "a"}, {"textgrid": tmp_path / "a"}):
        with pytest.raises(UserError, match=r"^expected [^\n]*, got \d+ bytes[^\n]*$"):
            tag_piped(make_predictor(direction=direction), encoded, **option)
    assert not list(tmp_path.iterdir())


def test_one_file_at_a_time_is_drawn(tmp_path):
    for option in ({"plot": tmp_path / "a.png"}, {"textgrid": tmp_path / "a.TextGrid"}):
        with pytest.raises(UserError, match="give one alone with --plot"):
            predict.main(run_dir=tmp_path, wav=(tmp_path / "a.wav", tmp_path / "b.wav"), **option)
