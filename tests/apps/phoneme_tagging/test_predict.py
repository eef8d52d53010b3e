"""One recording, and batches of them through the SavedModel."""

import io
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from scipy.io import wavfile

from apps.phoneme_tagging import data, predict
from apps.phoneme_tagging.config import Config
from apps.phoneme_tagging.corpora import recordings
from common.inputs import sound_files
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

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
    outputs = saved.signatures["serving_default"](
        waveform=tf.constant(padded, tf.float32),
        num_samples=tf.constant([len(one) for one in waveforms], tf.int32),
    )
    return {name: value.numpy() for name, value in outputs.items()}


def test_phones_follow_each_other_to_the_end(predictor, speech):
    phones = predictor.tag(speech).phones
    assert phones[0].start_s == 0.0
    assert phones[-1].end_s == pytest.approx(len(speech) / 16_000, abs=1e-3)
    for one, two in itertools.pairwise(phones):
        assert one.end_s == two.start_s and one.phone != two.phone
        assert one.end_s - one.start_s >= 0.0199  # two frames
    assert all(0 < one.probability <= 1 for one in phones)


def test_one_bad_recording_of_many_is_named_and_the_others_written(
    phone_run, speech, tmp_path, caplog, capsys
):
    (tmp_path / "good.wav").write_bytes(sound_files.encode(speech))
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dead.wav").symlink_to("nowhere")
    (tmp_path / "unreadable.wav").symlink_to("/proc/self/mem")
    bad = [tmp_path / f"{name}.wav" for name in ("bad", "folder", "dead", "unreadable", "a" * 300)]
    wav, ctm = (*bad[:3], tmp_path / "good.wav", *bad[3:]), tmp_path / "out.ctm"
    predict.main(run_dir=phone_run, wav=wav, ctm=ctm)
    assert {line.split()[0] for line in ctm.read_text().splitlines()} == {"good"}
    assert capsys.readouterr().out.count(".wav:") == 1
    for path in bad:
        assert f"leaves out {path}: " in caplog.text
        with pytest.raises((UserError, OSError)):
            predict.main(run_dir=phone_run, wav=(path,))
    with pytest.raises(UserError, match="expected files that can be used, none of 5 can"):
        predict.main(run_dir=phone_run, wav=tuple(bad), ctm=ctm)


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
    outputs = saved.signatures["wav"](wav=tf.constant(encoded))
    expected = ask(saved, *(sound_files.decode(one) for one in encoded))
    agree = outputs["phone"].numpy() == expected["phone"]
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


def as_wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


SIXTEEN_BITS = (noise(4000) * 32767).astype(np.int16)
ENCODED = as_wav(SIXTEEN_BITS)
NOT_TAKEN = {
    "8 kHz": (as_wav(SIXTEEN_BITS, 8000), "got samples a second.*8000"),
    "8 bits": (as_wav((SIXTEEN_BITS // 256 + 128).astype(np.uint8)), "got bits.*8"),
    "float": (as_wav(noise(4000).astype(np.float32)), "got format.*3"),
    "SPHERE": (b"NIST_1A\n   1024\nend_head\n".ljust(3000), "got another kind"),
    "empty": (b"", "got another kind"),
    "5 ms": (as_wav(SIXTEEN_BITS[:80]), r"(?s)expected at least 400.*\[1\]"),
}


@pytest.mark.parametrize("kind", NOT_TAKEN)
def test_the_signature_wav_says_what_it_does_not_take(saved, kind):
    encoded, message = NOT_TAKEN[kind]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        saved.signatures["wav"](wav=tf.constant([ENCODED, encoded]))


def test_the_signature_wav_averages_channels_as_predict_does(saved):
    both = np.stack([SIXTEEN_BITS, -SIXTEEN_BITS[::-1] // 2], axis=1)
    outputs = saved.signatures["wav"](wav=tf.constant([as_wav(both)]))
    expected = ask(saved, sound_files.decode(as_wav(both)))
    np.testing.assert_allclose(outputs["probability"], expected["probability"], atol=1e-4)
    assert (outputs["phone"].numpy() == expected["phone"]).all()


def test_samples_that_are_no_numbers_are_a_users_error(predictor):
    with pytest.raises(UserError, match="NaN"):
        predictor.tag(np.full(4000, np.nan, np.float32))
    with pytest.raises(UserError, match="at least 400 samples"):
        predictor.tag(np.zeros(80, np.float32))


def test_files_of_other_kinds_are_tagged_and_written(run_command, phone_run, tmp_path, capsys):
    stereo = np.stack([noise(8000), noise(8000, 1)], axis=1).astype(np.float32)
    sphere = (
        b"NIST_1A\n   1024\nsample_count -i 8000\nsample_rate -i 16000\nsample_n_bytes -i 2\n"
        b"end_head\n"
    )
    contents = {"one 8 kHz": as_wav(stereo, 8000), "two": sphere.ljust(1024) + bytes(16_000)}
    paths = [tmp_path / f"{name}.wav" for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    command = ("phoneme_tagging", "predict", "--run-dir", phone_run, "--wav")
    run_command(*command, *paths, "--ctm", tmp_path / "out.ctm", "--json")
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["wav"] for one in printed] == [str(path) for path in paths]
    assert [one["phones"][-1]["end_s"] for one in printed] == [1.0, 0.5]
    lines = [line.split() for line in (tmp_path / "out.ctm").read_text().splitlines()]
    pairs = zip(printed, ("one_8_kHz", "two"), strict=True)
    names = [name for transcript, name in pairs for _ in transcript["phones"]]
    assert [line[0] for line in lines] == names
    with pytest.raises(UserError, match="files of different names for --ctm"):
        run_command(*command, paths[0], paths[0], "--ctm", tmp_path / "same.ctm")
    run_command(*command, paths[0], "--textgrid", tmp_path / "out.TextGrid")
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert float(last[1]) == 1.0
    segments = recordings.read_textgrid(tmp_path / "out.TextGrid", None, 16_000)
    assert segments[-1].phone == last[2] and segments[-1].end == 16_000
