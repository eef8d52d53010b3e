"""Speech of espeak and the official layout of TIMIT."""

import itertools
from importlib import metadata

import numpy as np
import pytest

from apps.phoneme_tagging import config, data, datasets
from apps.phoneme_tagging.corpora import espeak, segments, sentences
from apps.phoneme_tagging.corpora.phones import PHONES_61
from common.inputs import audio
from common.runs.errors import UserError

from .conftest import GOOD, write_utterance


def load(name, cache_dir, split, **options):
    chosen = config.DataConfig(name=name, cache_dir=cache_dir, **options)
    return list(data.load_split(chosen, split).as_numpy_iterator())


@pytest.fixture(scope="module")
def synthesizer():
    return espeak.Synthesizer()


def test_espeak_gives_phones_without_gaps(synthesizer):
    waveform, spoken = synthesizer.say("She had a dog.", espeak.choose_voice("train", 0))
    assert spoken[0].start == 0 and spoken[-1].end == len(waveform)
    assert all(one.end == two.start for one, two in itertools.pairwise(spoken))
    names = [one.phone for one in spoken if one.phone not in ("h#", "pau")]
    assert names[:3] == ["sh", "iy", "hh"] and {"d", "g"} <= set(names)


def test_silence_of_its_voice_is_at_both_ends(synthesizer):
    voice = espeak.choose_voice("train", 0)._replace(before=0.1, after=0.2)
    waveform, spoken = synthesizer.say("She had a dog.", voice)
    first, last = spoken[0], spoken[-1]
    assert first.phone == last.phone == "h#"
    assert 1600 <= first.end < 2400 and not waveform[:1600].any()
    assert 3200 <= last.end - last.start < 4800 and not waveform[-3200:].any()


def test_fricatives_hiss_where_espeak_says_they_are(synthesizer):
    waveform, spoken = synthesizer.say("Sasha sees us.", espeak.choose_voice("train", 1))
    crossings = np.abs(np.diff(np.sign(waveform))) / 2  # many for noise, few for a voice

    def rate(*phones):
        rates = [crossings[s.start : s.end].mean() for s in spoken if s.phone in phones]
        return np.mean(rates)

    assert rate("s", "sh") > 3 * rate("ae", "iy", "ax", "ah")


def test_every_voice_is_known_and_audible(synthesizer):
    for variants in espeak.VARIANTS.values():
        for variant in variants:
            voice = espeak.Voice(variant, 170, 50, 50, before=0.1, after=0.1)
            waveform, spoken = synthesizer.say("Hello there.", voice)
            assert np.abs(waveform).max() > 0.05, variant
            assert len(spoken) > 5, variant


def test_no_voice_and_no_sentence_of_training_is_held_back():
    parts = sentences.by_part(200)
    assert [len(one) for one in parts.values()] == [200, 20, 20]
    assert len({text for texts in parts.values() for text in texts}) == 240
    assert len({one for ones in espeak.VARIANTS.values() for one in ones}) == 48


def test_espeak_maps_to_phones_of_timit():
    assert set(espeak.PHONES.values()) <= set(PHONES_61)


def test_records_of_espeak_hold_whole_utterances(cache_dir):
    for record in load("espeak", cache_dir, "validation", num_utterances=32):
        assert record["start"][0] == 0
        assert record["end"][-1] == len(record["waveform"])
        assert record["waveform"].dtype == np.int16


def test_without_the_library_the_package_is_named(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install espeakng-loader=="):
        espeak.Synthesizer()


def test_the_package_named_is_the_one_required():
    assert espeak.ESPEAK == f"espeakng-loader=={metadata.version('espeakng-loader')}"


def test_timit_in_upper_case_has_no_dialect_sentences(timit, tmp_path):
    train = load("timit", tmp_path, "train", root=timit)
    validation = load("timit", tmp_path, "validation", root=timit)
    [test] = load("timit", tmp_path, "test", root=timit)
    assert (len(train), len(validation)) == (54, 6)
    assert {one["speaker"] for one in train} & {one["speaker"] for one in validation} == set()
    assert not [one for one in train if b"sa" in one["utterance_id"]]
    assert test["speaker"] == b"mab0"
    assert test["phone"].tolist() == [b"h#", b"iy", b"h#"]
    assert test["end"].tolist() == [2000, 5000, 7900]


def test_folds_turn_the_validation_speakers(timit, tmp_path):
    folds = [
        {one["speaker"] for one in load("timit", tmp_path, "validation", root=timit, fold=fold)}
        for fold in (0, 1)
    ]
    assert [len(one) for one in folds] == [3, 3] and not folds[0] & folds[1]


BROKEN = {
    "0 2000 h#\n2000 9000 iy\n": "past the end of the audio",
    "0 2000 h#\n2000 5000 ii\n": "unknown phone 'ii'",
    "0 2000 h#\n1900 5000 iy\n": "before the end of the last phone",
    "0 2000 h#\n2000 2000 iy\n": "has no length",
    "0 2000\n": "line 1: expected `first last phone`",
    "": "no phones",
}


@pytest.mark.parametrize("phn", BROKEN)
def test_broken_labels_are_named(timit, tmp_path, phn):
    (timit / "TRAIN" / "DR1" / "FAB3" / "SI1.PHN").write_text(phn)
    with pytest.raises(UserError, match=BROKEN[phn]) as raised:
        load("timit", tmp_path, "train", root=timit)
    assert "FAB3" in str(raised.value) and "\n" not in str(raised.value)


def test_a_few_broken_utterances_are_skipped(tmp_path, caplog):
    root = tmp_path / "timit"
    for number in range(130):
        write_utterance(root / f"dr1-s{number % 10}", f"si{number}", GOOD, num_samples=8000)
    write_utterance(root / "dr1-s0", "si0", "0 9000 h#\n")
    with caplog.at_level("INFO", logger="cellstate"):
        records = load("timit", tmp_path, "train", root=root)
        records += load("timit", tmp_path, "validation", root=root)
    assert len(records) == 129
    assert "1 broken rows skipped" in caplog.text


def test_timit_asks_for_its_folder(tmp_path):
    with pytest.raises(UserError, match=r"--data\.root"):
        load("timit", tmp_path, "train")
    with pytest.raises(UserError, match="expected the folders of TIMIT"):
        load("timit", tmp_path, "train", root=tmp_path)


def test_gaps_are_no_error():
    spoken = [segments.Segment("h#", 0, 100), segments.Segment("iy", 300, 500)]
    assert segments.problem(spoken, 800) is None


def test_the_example_is_a_sound_to_tag():
    from pathlib import Path

    from common.inputs import sound_files

    option, path = datasets.example_arguments()
    assert option == "--wav"
    assert len(sound_files.read(Path(path))) > audio.SAMPLE_RATE
