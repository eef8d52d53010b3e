"""Speech of CMU Flite, and stops divided into closure and release."""

import itertools
import shutil

import numpy as np
import pytest

from apps.phoneme_tagging import config, data
from apps.phoneme_tagging.corpora import flite, segments
from apps.phoneme_tagging.corpora.flite import Reading
from apps.phoneme_tagging.corpora.segments import Segment
from common.runs.errors import UserError

HZ = 16_000
installed = pytest.mark.skipif(
    shutil.which(flite.PROGRAM) is None, reason="the program flite is not installed"
)


def make_stop(closure_s, release_s=0.02, *, seed=0):
    """A vowel, silence, a burst of noise and a vowel again; the stop's segment and its burst."""
    random, time = np.random.default_rng(seed), np.arange(round(0.1 * HZ)) / HZ
    vowel = 0.3 * np.sin(2 * np.pi * 150 * time)
    silence = 1e-4 * random.normal(size=round(closure_s * HZ))
    burst = 0.2 * random.normal(size=round(release_s * HZ))
    first, second = len(vowel), len(vowel) + len(silence)
    waveform = np.concatenate([vowel, silence, burst, vowel])
    return waveform, Segment("t", first, second + len(burst)), second


@pytest.mark.parametrize("closure_s", [0.02, 0.05, 0.12])
@pytest.mark.parametrize("phone", ["t", "g", "ch"])
def test_a_stop_is_divided_at_its_burst(closure_s, phone):
    waveform, stop, burst = make_stop(closure_s)
    closure, release = segments.divide_stops([stop._replace(phone=phone)], waveform)
    assert closure.phone == {"t": "tcl", "g": "gcl", "ch": "tcl"}[phone]
    assert release.phone == phone
    assert closure.end == release.start == pytest.approx(burst, abs=0.005 * HZ)
    assert (closure.start, release.end) == (stop.start, stop.end)


@pytest.mark.parametrize(
    ("phone", "length_s", "expected"),
    [
        ("t", 0.03, "dx"),
        ("d", 0.03, "dx"),
        ("t", 0.09, "tcl"),
        ("p", 0.03, "pcl"),
        ("jh", 0.09, "jh"),
    ],
)
def test_a_stop_without_a_burst_is_a_flap_or_a_closure(phone, length_s, expected):
    silence = 1e-4 * np.random.default_rng(0).normal(size=HZ)
    stop = Segment(phone, 4000, 4000 + round(length_s * HZ))
    assert segments.divide_stops([stop], silence) == [stop._replace(phone=expected)]


def test_other_phones_and_stops_at_the_ends_of_the_sound_stay_whole():
    silence = np.zeros(HZ // 10)
    spoken = [Segment("d", 0, 40), Segment("ae", 40, 1500), Segment("k", 1500, 1600)]
    divided = segments.divide_stops(spoken, silence)
    assert [segment.phone for segment in divided] == ["dx", "ae", "kcl"]
    assert [segment[1:] for segment in divided] == [segment[1:] for segment in spoken]


def test_printed_ends_become_phones_without_gaps():
    printed = "pau:0.237 ae:0.328 k:0.328 s:0.469 iy:9.9 "
    spoken = flite._segments(printed, 8000)
    assert spoken == [("pau", 0, 3792), ("ae", 3792, 5248), ("s", 5248, 7504), ("iy", 7504, 8000)]
    with pytest.raises(ValueError, match="unknown phone 'xx' of flite"):
        flite._segments("pau:0.2 xx:0.3", 8000)


@installed
@pytest.mark.parametrize("voice", flite.VOICES)
def test_every_voice_speaks_phones_to_the_end_of_its_sound(voice):
    waveform, spoken = flite.say("She had a dog.", Reading(voice, 1.0))
    assert np.abs(waveform).max() > 0.05
    assert spoken[0].start == 0
    assert all(before.end == after.start for before, after in itertools.pairwise(spoken))
    assert 0 <= len(waveform) - spoken[-1].end < 0.05 * HZ
    names = [segment.phone for segment in spoken]
    assert names[:3] == ["h#", "sh", "iy"] and {"dcl", "d", "gcl"} <= set(names)


@installed
def test_records_are_of_all_voices_and_no_text_is_in_two_parts(tmp_path):
    options = config.DataConfig(name="flite", cache_dir=tmp_path, num_utterances=16)
    parts = {
        part: list(data.load_split(options, part).as_numpy_iterator())
        for part in ("train", "validation", "test")
    }
    assert {one["speaker"].decode() for one in parts["train"]} == set(flite.VOICES)
    texts = [{one["text"] for one in records} for records in parts.values()]
    assert sum(map(len, texts)) == len(set.union(*texts)) == sum(map(len, parts.values()))


def test_a_program_that_fails_is_told(monkeypatch, tmp_path):
    program = tmp_path / flite.PROGRAM
    program.write_text("#!/bin/sh\necho no room >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="flite failed: no room"):
        flite.say("Hello.", Reading("rms", 1.0))


def test_a_reading_is_a_function_of_part_and_number():
    assert flite.choose_reading("train", 5) == flite.choose_reading("train", 5)
    assert flite.choose_reading("train", 5) != flite.choose_reading("test", 5)


def test_a_missing_program_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    options = config.DataConfig(name="flite", cache_dir=tmp_path)
    with pytest.raises(UserError, match=r"program flite .* found none: install it"):
        data.load_split(options, "train")


def test_a_program_without_a_voice_is_named(monkeypatch, tmp_path):
    program = tmp_path / flite.PROGRAM
    program.write_text("#!/bin/sh\necho Voices available: kal awb rms slt\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"flite has no voice kal16: install it"):
        flite.version()
