"""Transcripts that pocketsphinx aligns."""

import os
from pathlib import Path

import numpy as np
import pytest

from apps.phoneme_tagging.corpora import alignment, espeak, phones, recordings
from common.inputs import sound_files
from common.runs.errors import UserError

from .conftest import load_parts, noise, write_recordings

SENTENCE = "The same sun shines on all of us."


@pytest.fixture(scope="module")
def spoken():
    return espeak.Synthesizer().say(SENTENCE, espeak.choose_voice("train", 3))


@pytest.fixture(scope="module")
def aligner(tmp_path_factory):
    pytest.importorskip("pocketsphinx")
    folder = tmp_path_factory.mktemp("alignment")
    (folder / "words.txt").write_text("zyx Z IH K S\nsun S AH N\nsun(2) S UW N\n")
    return alignment.Aligner(folder / "words.txt")


def test_aligned_phones_begin_where_espeak_began_them(aligner, spoken):
    waveform, said = spoken
    aligned = aligner.align(waveform, alignment.words_of(SENTENCE))
    assert aligned[0].start == 0 and aligned[-1].end == len(waveform)
    heard = [phones.fold(segment.phone, 39) for segment in aligned[1:] if segment.phone != "pau"]
    assert heard[:6] == ["dh", "ah", "s", "ey", "m", "s"]
    starts = np.array([segment.start for segment in said])
    distance_ms = [np.abs(starts - segment.start).min() / 16 for segment in aligned[1:]]
    assert np.mean(np.array(distance_ms) <= 30) >= 0.8  # measured: 0.9


def test_words_that_were_not_spoken_do_not_fit(aligner, spoken):
    words = alignment.words_of("Completely other words were never heard here tonight")
    with pytest.raises(ValueError, match="do not fit the sound"):
        aligner.align(spoken[0], words)


def test_pronunciations_are_added_and_missing_ones_are_named(aligner):
    assert aligner.unknown(["the", "zyx", "qqq"]) == ["qqq"]
    with pytest.raises(ValueError, match=r"no pronunciation for qqq.*--data\.pronunciations"):
        aligner.align(noise(8000), ["the", "qqq"])
    with pytest.raises(ValueError, match="expected words in the transcript, found none"):
        aligner.align(noise(8000), [])


@pytest.mark.parametrize("line", ["zyx", "zyx Q"])
def test_a_broken_table_of_pronunciations_is_named(tmp_path, aligner, line):
    (tmp_path / "words.txt").write_text(f"sun S AH N\n\n{line}\n")
    with pytest.raises(UserError, match=rf"words\.txt, line 3: expected `word PH PH`.*'{line}'"):
        alignment.Aligner(tmp_path / "words.txt")


def test_a_folder_of_transcripts_is_aligned(tmp_path, spoken, aligner):
    root = tmp_path / "own"
    write_recordings(root, num_speakers=1, content=SENTENCE, suffix=".txt", per_speaker=3)
    for path in root.rglob("*.wav"):
        path.write_bytes(sound_files.encode(spoken[0]))
    parts = load_parts("folder", root, tmp_path)
    assert [len(records) for records in parts.values()] == [1, 1, 1]
    [record] = parts["train"]
    assert record["phone"].tolist()[:4] == [b"h#", b"dh", b"ah", b"s"]
    assert record["text"].decode() == SENTENCE
    next(root.rglob("*.txt")).write_text("The same frobnicator.")
    with pytest.raises(UserError, match=r"no pronunciation for frobnicator: add a line"):
        load_parts("folder", root, tmp_path)


@pytest.mark.data
def test_aligned_phones_begin_where_people_heard_them(aligner):
    folder = os.environ.get("CELLSTATE_DATA")
    if folder is None:
        pytest.skip("CELLSTATE_DATA is not set")
    distance_ms = []
    for sound in sorted((Path(folder) / "timit_sample").rglob("sx*.wav"))[:20]:
        text = sound.with_suffix(".txt").read_text().split(maxsplit=2)[2]
        aligned = aligner.align(sound_files.read(sound), alignment.words_of(text))
        people = recordings.read_phn(sound.with_suffix(".phn"))
        starts = np.array([segment.start for segment in people])
        for segment in aligned[1:]:
            nearest = starts[np.abs(starts - segment.start).argmin()]
            distance_ms.append((segment.start - nearest) / 16)
    assert len(distance_ms) > 500
    assert np.mean(np.abs(distance_ms) <= 20) > 0.75  # of all 80 utterances: 0.78
    assert abs(np.median(distance_ms)) < 5
