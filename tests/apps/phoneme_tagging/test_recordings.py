"""Recordings with labels: the official layout of TIMIT, and one's own in every form."""

import itertools
import os

import numpy as np
import pytest

from apps.phoneme_tagging.corpora import phones, recordings
from apps.phoneme_tagging.corpora.phones import Segment
from common.runs.errors import UserError

from .conftest import GOOD, load, load_parts, write_recordings, write_utterance

INTERVALS = [(0.0, 0.125, "sil"), (0.125, 0.3, "IY1"), (0.3, 0.5, 's "x"')]


def grid(intervals, *, name="Phones", end: float | str = 0.5) -> str:
    """A TextGrid with a tier of points and one of words before the tier of phones."""
    tiers = [("TextTier", "clicks", [(0.2, "a")]), ("IntervalTier", "words", [(0.0, end, "he")])]
    tiers.append(("IntervalTier", name, intervals))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0"]
    lines += [f"xmax = {end}", "tiers? <exists>", "size = 3", "item []:"]
    for number, (kind, tier, entries) in enumerate(tiers, start=1):
        what = "points" if kind == "TextTier" else "intervals"
        keys = ("number", "mark") if kind == "TextTier" else ("xmin", "xmax", "text")
        lines += [f"item [{number}]:", f'class = "{kind}"', f'name = "{tier}"', "xmin = 0"]
        lines += [f"xmax = {end}", f"{what}: size = {len(entries)}"]
        for place, (*times, label) in enumerate(entries, start=1):
            quoted = '"' + label.replace('"', '""') + '"'
            values = zip(keys, [*times, quoted], strict=True)
            lines += [f"{what} [{place}]:", *(f"{key} = {value} " for key, value in values)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_textgrids_of_every_encoding_are_read(tmp_path, encoding, newline):
    text = ("\ufeff" if encoding == "utf-16-be" else "") + grid(INTERVALS)
    text = text.replace("\n", newline)
    (tmp_path / "a.TextGrid").write_bytes(text.encode(encoding))
    assert recordings.read_textgrid(tmp_path / "a.TextGrid", None, 7950) == [
        ("sil", 0, 2000),
        ("IY1", 2000, 4800),
        ('s "x"', 4800, 7950),  # the last 3 ms lie past the audio
    ]
    assert recordings.read_textgrid(tmp_path / "a.TextGrid", "WORDS", 8000) == [("he", 0, 8000)]


def short(intervals, end: str) -> str:
    """The short form, where numbers and labels stand alone."""
    rows = [value for *times, label in intervals for value in (*times, f'"{label}"')]
    head = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", 0, end, "<exists>", 1]
    tier = ['"IntervalTier"', '"phones"', 0, end, len(intervals)]
    return "\n".join(map(str, [*head, *tier, *rows])) + "\n"


NUMBERS = ["5e-05", "5E-5", "5.0e-05", "0.00005", ".5e-4", "+5e-05", "50e-6", "0.00005e0", "5.e-05"]


@pytest.mark.parametrize("form", ["long", "short"])
@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_of_every_notation_are_read(tmp_path, form, number):
    intervals = [("0e0", number, ""), (number, "2.5E-1", "5e-05"), ("2.5E-1", "5e-1", 's 1e3 ""')]
    text = grid(intervals, end="5e-1") if form == "long" else short(intervals, "5e-1")
    text = text.replace('""""', '""') if form == "long" else text
    (tmp_path / "a.TextGrid").write_text(text)
    assert recordings.read_textgrid(tmp_path / "a.TextGrid", None, 8000) == [
        ("", 0, 1),
        ("5e-05", 1, 4000),  # a label is no number
        ('s 1e3 "', 4000, 8000),
    ]


def test_random_times_are_read_to_the_sample(tmp_path):
    draw = np.random.default_rng(0)
    for number in range(20):
        times = np.unique(np.concatenate([[0], 10 ** draw.uniform(-5, 1, 6), [10]]))
        starts = [f"{time:.{number}e}" if number > 9 else repr(float(time)) for time in times]
        intervals = [(*pair, "iy") for pair in itertools.pairwise(starts)]
        for text in (grid(intervals, end="1e1"), short(intervals, "1e+01")):
            (tmp_path / "a.TextGrid").write_text(text)
            segments = recordings.read_textgrid(tmp_path / "a.TextGrid", None, 160_000)
            assert [segment.end for segment in segments] == np.round(times[1:] * 16_000).tolist()


BROKEN_GRIDS = {
    "overlap": (grid([(0, 0.3, "iy"), (0.2, 0.5, "s")]), r"overlap in time.*iy.*s"),
    "no length": (grid([(0, 0.3, "iy"), (0.3, 0.3, "s")]), "cannot occur after its end"),
    "no such tier": (grid(INTERVALS, name="tones"), r"found clicks, words, tones.*--data\.tier"),
    "no end": (short([(0, "1e999", "iy")], "1e999"), "expected"),
    "another kind": ("0 2000 h#\n", "expected a TextGrid"),
    "empty": ("", "expected a TextGrid"),
}


@pytest.mark.parametrize("kind", BROKEN_GRIDS)
def test_what_is_wrong_with_a_textgrid_is_named(tmp_path, kind):
    text, message = BROKEN_GRIDS[kind]
    (tmp_path / "a.TextGrid").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        recordings.read_textgrid(tmp_path / "a.TextGrid", None, 8000)
    assert "\n" not in str(raised.value)


def test_a_textgrid_cut_anywhere_is_refused(tmp_path):
    whole = grid([*INTERVALS[:2], (0.3, 0.5, "s")])
    for size in range(0, len(whole.rstrip()) - 1, 7):
        (tmp_path / "a.TextGrid").write_text(whole[:size])
        with pytest.raises(ValueError, match="expected"):
            recordings.read_textgrid(tmp_path / "a.TextGrid", None, 8000)


@pytest.mark.parametrize(
    ("label", "phone"),
    [("iy", "iy"), ("IY1", "iy"), ("AH0", "ax"), ("ax-h", "ax-h"), ("SIL", "pau"), ("", "pau"),
     ("i:", "iy"), ("breath", None)],
)  # fmt: skip
def test_labels_are_named_as_timit_names_them(tmp_path, label, phone):
    (tmp_path / "map.txt").write_text("i: iy\nbreath -\n")
    assert phones.named(label, phones.read_map(tmp_path / "map.txt")) == phone


def test_an_unknown_label_names_the_table_to_extend():
    with pytest.raises(ValueError, match=r"unknown phone 'XX': add a line `XX PHONE`.*phone-map"):
        phones.named("XX", {})


def test_a_broken_table_of_labels_is_named(tmp_path):
    (tmp_path / "map.txt").write_text("i: iy\ne: ee\n")
    with pytest.raises(UserError, match=r"map\.txt, line 2: .*got 'e: ee'"):
        load("folder", tmp_path, "train", root=tmp_path, phone_map=tmp_path / "map.txt")
    with pytest.raises(UserError, match=r"--data\.phone-map, found none at .*none\.txt"):
        load("folder", tmp_path, "train", root=tmp_path, phone_map=tmp_path / "none.txt")


def test_equal_neighbours_are_joined_and_the_ends_are_silence():
    spoken = [Segment("pau", 0, 5), Segment("s", 5, 7), Segment("s", 7, 9), Segment("s", 10, 12)]
    assert phones.tidy(spoken) == [("h#", 0, 5), ("s", 5, 9), ("s", 10, 12)]
    assert phones.tidy([]) == []


def test_a_folder_of_textgrids_is_divided_by_speaker(tmp_path):
    root = tmp_path / "own"
    content = grid([(0.0, 0.125, ""), (0.125, 0.3, "i:"), (0.3, 0.504, "S")], end=0.504)
    write_recordings(root, num_speakers=6, content=content, suffix=".textgrid")
    for path in root.rglob("*.textgrid"):  # phones with times go before a transcript
        path.with_suffix(".txt").write_text("he is")
    (tmp_path / "map.txt").write_text("i: iy\n")
    parts = load_parts("folder", root, tmp_path, phone_map=tmp_path / "map.txt")
    assert {part: len(records) for part, records in parts.items()} == {
        "train": 8, "validation": 2, "test": 2,
    }  # fmt: skip
    by_part = [{record["speaker"] for record in records} for records in parts.values()]
    assert len(set.union(*by_part)) == sum(map(len, by_part)) == 6
    record = parts["train"][0]
    assert record["phone"].tolist() == [b"h#", b"iy", b"s"]
    assert record["end"].tolist() == [2000, 4800, 8000]


CTM = (  # in any order, with comments, and an overlap by rounding
    ";; made by hand\ntake0 1 0.3 0.2 s 0.9\ntake0 1 0 0.125 sil\ntake0 1 0.125 0.176 iy\n"
    "take1 1 0 0.125 sil\ntake1 1 0.125 0.175 iy\ntake1 1 0.3 0.204 s\n"
)


@pytest.mark.parametrize("shared", [False, True])
def test_a_ctm_file_labels_its_recording_or_all_below_it(tmp_path, shared):
    root = tmp_path / "own"
    write_recordings(root, num_speakers=3, content=CTM, suffix=".ctm")
    if shared:
        for path in root.rglob("*.ctm"):
            path.unlink()
        (root / "all.ctm").write_text(CTM)
    for records in load_parts("folder", root, tmp_path).values():
        for record in records:
            times = list(zip(record["phone"], record["end"], strict=True))
            assert times == [(b"h#", 2000), (b"iy", 4800), (b"s", 8000)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("take0 1 0.1 long iy\n", "line 1: expected `recording channel start duration phone`"),
        ("take0 1 0.1\n", "line 1: expected `recording"),
        ("take0 1 0 inf iy\n", "expected times in seconds, got 0.0 to inf of 'iy'"),
        ("take0 1 nan 1e-1 iy\n", "expected times in seconds, got nan"),
        ("take1 1 0.0 0.1 iy\n", "expected lines of the recording take0, found none"),
    ],
)
def test_what_is_wrong_with_a_ctm_file_is_named(tmp_path, content, message):
    (tmp_path / "a.ctm").write_text(content)
    with pytest.raises(ValueError, match=message):
        recordings.read_ctm(tmp_path / "a.ctm", "take0", 8000)


def test_recordings_of_one_speaker_are_divided_by_file(tmp_path):
    write_recordings(tmp_path, num_speakers=1, content="", suffix=".lab", per_speaker=20)
    folds = [recordings.find_own(tmp_path, fold=fold, suffixes=(".lab",)) for fold in range(3)]
    assert folds[0]["test"] == folds[1]["test"] and len(folds[0]["test"]) == 2
    assert len(folds[0]["validation"]) == 1
    held = [{utterance.key for utterance in parts["validation"]} for parts in folds]
    assert not held[0] & held[1] and not held[1] & held[2]
    keys = sorted(utterance.key for part in folds[2].values() for utterance in part)
    assert keys == sorted(f"take{take}" for take in range(20))
    with pytest.raises(UserError, match=r"at least three recordings NAME\.wav"):
        recordings.find_own(tmp_path / "none", fold=0, suffixes=(".lab",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            grid([(0.0, 0.9, "iy")], end=0.9),
            r"phones end at 14400, past the end of the audio, 8000",
        ),
        (grid([(0.0, 0.5, "??")]), r"unknown phone '\?\?': .*--data\.phone-map"),
        (None, "expected a sound file, found none"),
    ],
)
def test_a_broken_recording_is_named(tmp_path, content, message, caplog):
    root = tmp_path / "own"
    write_recordings(root, num_speakers=4, content=grid([(0.0, 0.5, "iy")]), suffix=".TextGrid")
    for path in root.rglob("take1.*"):
        if content is None and path.suffix == ".wav":
            path.unlink()
        elif path.suffix == ".TextGrid" and content:
            path.write_text(content)
    with caplog.at_level("INFO", "cellstate"), pytest.raises(UserError, match=message):
        load_parts("folder", root, tmp_path)
    assert sum("take1.TextGrid: " in line for line in caplog.text.splitlines()) > 1  # all listed


def test_timit_in_upper_case_has_no_dialect_sentences(timit, tmp_path):
    parts = load_parts("timit", timit, tmp_path)
    assert [len(records) for records in parts.values()] == [54, 6, 1]
    train, validation = ({record["speaker"] for record in parts[part]} for part in list(parts)[:2])
    assert not train & validation
    assert not [record for record in parts["train"] if b"sa" in record["utterance_id"]]
    [test] = parts["test"]
    assert test["speaker"] == b"mab0"
    assert test["phone"].tolist() == [b"h#", b"iy", b"h#"]
    assert test["end"].tolist() == [2000, 5000, 7900]


def test_folds_turn_the_validation_speakers(timit):
    folds = [recordings.find_timit(timit, fold=fold)["validation"] for fold in (0, 1)]
    speakers = [{utterance.speaker for utterance in utterances} for utterances in folds]
    assert [len(names) for names in speakers] == [3, 3] and not speakers[0] & speakers[1]


BROKEN = {
    "0 2000 h#\n2000 9000 iy\n": "past the end of the audio",
    "0 2000 h#\n2000 5000 ii\n": "unknown phone 'ii'",
    "0 2000 h#\n1900 5000 iy\n": "before the end of the last phone",
    "0 2000 h#\n2000 2000 iy\n": "has no length",
    "0 2000\n": "line 1: expected `first last phone`",
    "": "no phones",
}


def test_broken_labels_are_named(timit, tmp_path, caplog):
    paths = sorted(timit.rglob("SI1.PHN"))
    for path, phn in zip(paths, BROKEN, strict=False):
        path.write_text(phn)
    with caplog.at_level("INFO", "cellstate"), pytest.raises(UserError, match="broken rows"):
        load_parts("timit", timit, tmp_path)
    for path, message in zip(paths, BROKEN.values(), strict=False):
        [line] = [line for line in caplog.text.splitlines() if str(path) in line]
        assert message in line


def test_a_few_broken_utterances_are_skipped(tmp_path, caplog):
    root = tmp_path / "timit"
    for number in range(130):
        write_utterance(root / f"dr1-s{number % 10}", f"si{number}", GOOD)
    write_utterance(root / "dr1-s0", "si0", "0 9000 h#\n")
    with caplog.at_level("INFO", logger="cellstate"):
        records = load("timit", tmp_path, "train", root=root)
        records += load("timit", tmp_path, "validation", root=root)
    assert len(records) == 129
    assert "1 broken rows skipped" in caplog.text


def test_timit_asks_for_its_folder(tmp_path):
    with pytest.raises(UserError, match=r"--data\.root.*Linguistic Data Consortium"):
        load("timit", tmp_path, "train")
    with pytest.raises(UserError, match="expected the folders of TIMIT"):
        load("timit", tmp_path, "train", root=tmp_path)


def test_gaps_are_no_error():
    assert phones.problem([Segment("h#", 0, 100), Segment("iy", 300, 500)], 800) is None


def test_a_pipe_or_a_folder_is_no_recording(tmp_path):
    os.mkfifo(tmp_path / "pipe.phn")
    (tmp_path / "folder.phn").mkdir()
    (tmp_path / "lost.phn").symlink_to(tmp_path / "nowhere")  # named as broken when it is read
    (tmp_path / "file.phn").touch()
    paths = recordings._by_stem(tmp_path, (".phn",)).values()
    assert sorted(path.name for path in paths) == ["file.phn", "lost.phn"]
