"""Speech of espeak."""

import itertools
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from apps.phoneme_tagging import datasets
from apps.phoneme_tagging.corpora import espeak
from apps.phoneme_tagging.corpora.phones import PHONES_61
from common.inputs import audio, sound_files
from common.runs.errors import UserError

from .conftest import load


@pytest.fixture(scope="module")
def synthesizer():
    return espeak.Synthesizer()


def test_espeak_gives_phones_without_gaps(synthesizer):
    waveform, spoken = synthesizer.say("She had a dog.", espeak.choose_voice("train", 0))
    assert spoken[0].start == 0 and spoken[-1].end == len(waveform)
    assert all(before.end == after.start for before, after in itertools.pairwise(spoken))
    names = [segment.phone for segment in spoken if segment.phone not in ("h#", "pau")]
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
    parts = espeak.sentences(200)
    assert [len(texts) for texts in parts.values()] == [200, 20, 20]
    assert len({text for texts in parts.values() for text in texts}) == 240
    assert len({name for names in espeak.VARIANTS.values() for name in names}) == 48


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


def test_the_example_is_a_sound_to_tag():
    option, path = datasets.example_arguments()
    assert option == "--wav"
    assert len(sound_files.read(Path(path))) > audio.SAMPLE_RATE
