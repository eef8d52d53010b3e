"""One recording, and batches of them through the SavedModel."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging import data, evaluate, predict, textgrids, train
from apps.phoneme_tagging.config import TINY, Config
from common import sound_files
from common.errors import UserError
from common.runs import RunDirectory

from .conftest import noise


@pytest.fixture(scope="module")
def predictor(phone_run):
    return predict.Predictor.load(phone_run)


@pytest.fixture(scope="module")
def saved(tiny_export):
    return tf.saved_model.load(str(tiny_export("phoneme_tagging")))


@pytest.fixture(scope="module")
def speech(phone_run):
    config = RunDirectory.open(phone_run, app="phoneme_tagging").read_config(Config)
    record = next(data.load_split(config.data, "validation").as_numpy_iterator())
    return (record["waveform"] / 32768).astype(np.float32)


def ask(saved, *waveforms):
    longest = max(len(one) for one in waveforms)
    padded = np.stack([np.pad(one, (0, longest - len(one))) for one in waveforms])
    found = saved.signatures["serving_default"](
        waveform=tf.constant(padded, tf.float32),
        num_samples=tf.constant([len(one) for one in waveforms], tf.int32),
    )
    return {name: value.numpy() for name, value in found.items()}


def test_phones_follow_each_other_to_the_end(predictor, speech):
    phones = predictor.tag(speech).phones
    assert phones[0].start_s == 0.0
    assert phones[-1].end_s == pytest.approx(len(speech) / 16_000, abs=1e-3)
    for one, two in itertools.pairwise(phones):
        assert one.end_s == two.start_s and one.phone != two.phone
        assert one.end_s - one.start_s >= 0.0199  # two frames
    assert all(0 < one.probability <= 1 for one in phones)


def test_the_saved_model_gives_what_predict_gives(predictor, saved, speech):
    there = ask(saved, speech)
    frames = [phone.decode() for phone in there["phone"][0]]
    assert len(frames) == len(speech) // 160
    for one in predictor.tag(speech).phones:
        middle = int((one.start_s + one.end_s) / 2 * 100)
        assert frames[min(middle, len(frames) - 1)] == one.phone
    np.testing.assert_allclose(there["start_s"][:3], [0, 0.01, 0.02], atol=1e-6)


def test_a_batch_is_its_rows_one_by_one(saved, speech):
    rows = [speech, noise(5000).astype(np.float32), speech[:9000]]
    together = ask(saved, *rows)
    for number, row in enumerate(rows):
        alone, frames = ask(saved, row), len(row) // 160
        assert (together["phone"][number, :frames] == alone["phone"][0]).all()
        assert (together["phone"][number, frames:] == b"").all()
        np.testing.assert_allclose(
            together["probability"][number, :frames], alone["probability"][0], atol=1e-4
        )


def test_training_reads_the_same_features_as_the_saved_model(phone_run, saved, speech):
    directory = RunDirectory.open(phone_run, app="phoneme_tagging")
    config = directory.read_config(Config)
    examples = data.make_examples(data.load_split(config.data, "validation"), config.model)
    one = next(iter(examples.batch(1)))
    network = directory.load_model()
    inputs = {name: one[name] for name in network.input}
    posteriors = tf.nn.softmax(network(inputs, training=False)["logits"])[0].numpy()
    there = ask(saved, speech)
    names = (phone_run / "vocab_phones.txt").read_text().split()
    places = [names.index(phone.decode()) for phone in there["phone"][0]]
    of_these = posteriors[np.arange(len(places)), places]
    np.testing.assert_allclose(there["probability"][0], of_these, atol=1e-4)


def test_the_signature_wav_takes_files_of_any_length(saved, speech):
    encoded = [sound_files.encode(speech), sound_files.encode(speech[:6000])]
    found = saved.signatures["wav"](wav=tf.constant(encoded))
    given = ask(saved, *(sound_files.decode(one) for one in encoded))
    agree = found["phone"].numpy() == given["phone"]
    assert agree.mean() > 0.99  # 32767 or 32768 for one


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (np.full(3000, np.nan, np.float32), r"(?s)found NaN or infinity in row.*\[1\]"),
        (np.zeros(80, np.float32), r"(?s)num_samples: expected at least 400.*\[1\]"),
    ],
)
def test_a_broken_row_is_named(saved, speech, broken, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask(saved, speech, broken)


def test_wav_at_another_rate_is_refused(saved):
    encoded = bytearray(sound_files.encode(noise(4000)))
    encoded[24:32] = (8000).to_bytes(4, "little") + (16_000).to_bytes(4, "little")
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected 16,000 samples a second"):
        saved.signatures["wav"](wav=tf.constant([bytes(encoded)]))


def test_samples_that_are_no_numbers_are_a_users_error(predictor):
    with pytest.raises(UserError, match="NaN"):
        predictor.tag(np.full(4000, np.nan, np.float32))
    with pytest.raises(UserError, match="at least 400 samples"):
        predictor.tag(np.zeros(80, np.float32))


def test_a_broken_file_is_one_line(run_command, phone_run, tmp_path):
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    with pytest.raises(UserError, match=r"speech\.wav: expected a whole WAV file") as raised:
        run_command("phoneme_tagging", "predict", "--run-dir", phone_run, "--wav", path)
    assert "\n" not in str(raised.value)


def test_other_sample_rates_are_tagged(run_command, phone_run, tmp_path, capsys):
    import io

    from scipy.io import wavfile

    file = io.BytesIO()
    stereo = np.stack([noise(8000), noise(8000, 1)], axis=1).astype(np.float32)
    wavfile.write(file, 8000, stereo)
    (tmp_path / "speech.wav").write_bytes(file.getvalue())
    grid = tmp_path / "out.TextGrid"
    run_command(
        "phoneme_tagging", "predict", "--run-dir", phone_run,
        "--wav", tmp_path / "speech.wav", "--textgrid", grid,
    )  # fmt: skip
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert float(last[1]) == 1.0
    assert f'text = "{last[2]}"' in grid.read_text()


def test_a_textgrid_has_every_phone(tmp_path):
    phones = [predict.Phone("h#", 0.0, 0.1, 1.0), predict.Phone("iy", 0.1, 0.25, 0.5)]
    textgrids.write(tmp_path / "a.TextGrid", phones)
    lines = [line.strip() for line in (tmp_path / "a.TextGrid").read_text().splitlines()]
    assert lines[:2] == ['File type = "ooTextFile"', 'Object class = "TextGrid"']
    assert "xmax = 0.25" in lines and "intervals: size = 2" in lines
    assert lines[-3:] == ["xmin = 0.1", "xmax = 0.25", 'text = "iy"']
    assert textgrids.read(tmp_path / "a.TextGrid", None) == [one[:3] for one in phones]


def test_eight_utterances_are_learnt_by_heart(cache_dir, tmp_path):
    config = replace(
        TINY,
        data=replace(TINY.data, cache_dir=cache_dir, max_utterances=8),
        model=replace(TINY.model, units=48, min_frames=1),  # some silences are that short
        train=replace(TINY.train, epochs=15, patience=15, batch_size=4, learning_rate=3e-2),
    )
    train.train(config, tmp_path / "run")
    found = evaluate.evaluate(tmp_path / "run", "train")
    assert found.metrics["frame_accuracy_61"] > 0.97
    assert found.metrics["phone_error_rate"] < 0.05
    assert found.baselines["logistic_regression"]["frame_accuracy_61"] < 0.9
