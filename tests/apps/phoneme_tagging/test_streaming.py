"""Long recordings in windows, and recordings that come in chunks: the same as the whole."""

import io
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging import model, predict
from apps.phoneme_tagging.config import ModelConfig
from apps.phoneme_tagging.tagging import streaming, viterbi
from apps.phoneme_tagging.tagging.streaming import Stream
from common.inputs import audio
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


def test_standard_input_is_tagged_while_it_comes(monkeypatch, capsys, tmp_path):
    predictor = make_predictor(direction="forward", delay_frames=3)
    waveform = babble(16_000)
    pcm = np.round(waveform.clip(-1, 1) * 32767).astype("<i2")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(pcm.tobytes() + b"x")))
    monkeypatch.setattr(predict.Predictor, "load", lambda run_dir: predictor)
    predict.main(run_dir=tmp_path, wav=(predict.STANDARD_INPUT,))
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    whole = predictor.tag(pcm / 2.0**15).phones
    assert [(float(a), float(b), phone) for a, b, phone, _ in printed] == [
        (one.start_s, one.end_s, one.phone) for one in whole
    ]


def test_one_file_at_a_time_is_drawn(tmp_path):
    for option in ({"plot": tmp_path / "a.png"}, {"textgrid": tmp_path / "a.TextGrid"}):
        with pytest.raises(UserError, match="give one alone with --plot"):
            predict.main(run_dir=tmp_path, wav=(tmp_path / "a.wav", tmp_path / "b.wav"), **option)
