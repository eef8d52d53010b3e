"""One's own recordings with TextGrids: forms, labels, parts."""

import pytest

from apps.phoneme_tagging.corpora import phones, recordings, segments
from apps.phoneme_tagging.corpora.segments import Segment
from common.runs.errors import UserError

from .conftest import load_parts, write_recordings

INTERVALS = [(0.0, 0.125, "sil"), (0.125, 0.3, "IY1"), (0.3, 0.5, 's "x"')]


def grid(intervals, *, name="Phones", end=0.5, short=False) -> str:
    """A TextGrid with a tier of points and one of words before the tier of phones."""
    tiers = [("TextTier", "clicks", [(0.2, "a")]), ("IntervalTier", "words", [(0.0, end, "he")])]
    tiers.append(("IntervalTier", name, intervals))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["0", f"{end}", "<exists>", "3"] if short else [
        "xmin = 0", f"xmax = {end}", "tiers? <exists>", "size = 3", "item []:",
    ]  # fmt: skip
    for number, (kind, tier, entries) in enumerate(tiers, start=1):
        what = "points" if kind == "TextTier" else "intervals"
        keys = ("number", "mark") if kind == "TextTier" else ("xmin", "xmax", "text")
        if short:
            lines += [f'"{kind}"', f'"{tier}"', "0", f"{end}", f"{len(entries)}"]
        else:
            lines += [f"item [{number}]:", f'class = "{kind}"', f'name = "{tier}"', "xmin = 0"]
            lines += [f"xmax = {end}", f"{what}: size = {len(entries)}"]
        for place, entry in enumerate(entries, start=1):
            values = [str(value) for value in entry[:-1]] + [
                '"' + entry[-1].replace('"', '""') + '"'
            ]
            lines += values if short else [f"{what} [{place}]:"] + [
                f"{key} = {value} " for key, value in zip(keys, values, strict=True)
            ]  # fmt: skip
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("short", [True, False])
def test_textgrids_of_every_form_are_read(tmp_path, encoding, short):
    text = ("\ufeff" if encoding == "utf-16-be" else "") + grid(INTERVALS, short=short)
    (tmp_path / "a.TextGrid").write_bytes(text.encode(encoding))
    intervals = recordings.read_textgrid(tmp_path / "a.TextGrid", None)
    assert [tuple(interval) for interval in intervals] == [
        (label, a, b) for a, b, label in INTERVALS
    ]
    assert recordings.read_textgrid(tmp_path / "a.TextGrid", "WORDS") == [("he", 0.0, 0.5)]


BROKEN_GRIDS = {
    "gap": (grid([(0, 0.1, "iy"), (0.2, 0.5, "s")]), "gap between 'iy', to 0.1 s, and 's'"),
    "overlap": (grid([(0, 0.3, "iy"), (0.2, 0.5, "s")]), r"overlap in time.*iy.*s"),
    "no length": (grid([(0, 0.3, "iy"), (0.3, 0.3, "s")]), "cannot occur after its end"),
    "no such tier": (grid(INTERVALS, name="tones"), r"found clicks, words, tones.*--data\.tier"),
    "another kind": ("0 2000 h#\n", "expected a TextGrid"),
    "empty": ("", "expected a TextGrid"),
}


@pytest.mark.parametrize("kind", BROKEN_GRIDS)
def test_what_is_wrong_with_a_textgrid_is_named(tmp_path, kind):
    text, message = BROKEN_GRIDS[kind]
    (tmp_path / "a.TextGrid").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        recordings.read_textgrid(tmp_path / "a.TextGrid", None)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("short", [True, False])
def test_a_textgrid_cut_anywhere_is_refused(tmp_path, short):
    whole = grid([*INTERVALS[:2], (0.3, 0.5, "s")], short=short)
    for size in range(0, len(whole.rstrip()) - 1, 7):
        (tmp_path / "a.TextGrid").write_text(whole[:size])
        with pytest.raises(ValueError, match=r"expected|gap"):
            recordings.read_textgrid(tmp_path / "a.TextGrid", None)


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
        phones.read_map(tmp_path / "map.txt")
    with pytest.raises(UserError, match=r"--data\.phone-map"):
        phones.read_map(tmp_path / "none.txt")


def test_equal_neighbours_are_joined_and_the_ends_are_silence():
    spoken = [Segment("pau", 0, 5), Segment("s", 5, 7), Segment("s", 7, 9), Segment("s", 10, 12)]
    assert segments.tidy(spoken) == [("h#", 0, 5), ("s", 5, 9), ("s", 10, 12)]
    assert segments.tidy([]) == []


def test_a_folder_of_textgrids_is_divided_by_speaker(tmp_path):
    root = tmp_path / "own"
    content = grid([(0.0, 0.125, ""), (0.125, 0.3, "i:"), (0.3, 0.504, "S")], end=0.504)
    write_recordings(root, num_speakers=6, content=content, suffix=".textgrid")
    (tmp_path / "map.txt").write_text("i: iy\n")
    parts = load_parts("textgrid", root, tmp_path, phone_map=tmp_path / "map.txt")
    assert {part: len(ones) for part, ones in parts.items()} == {
        "train": 8, "validation": 2, "test": 2,
    }  # fmt: skip
    by_part = [{record["speaker"] for record in records} for records in parts.values()]
    assert len(set.union(*by_part)) == sum(map(len, by_part)) == 6
    record = parts["train"][0]
    assert record["phone"].tolist() == [b"h#", b"iy", b"s"]
    assert record["end"].tolist() == [2000, 4800, 8000]  # the last 4 ms lie past the audio


def test_recordings_of_one_speaker_are_divided_by_file(tmp_path):
    write_recordings(tmp_path, num_speakers=1, content="", suffix=".lab", per_speaker=20)
    utterances = recordings.find(tmp_path, (".txt", ".lab"))
    folds = [recordings.parts(utterances, fold=fold) for fold in range(3)]
    assert folds[0]["test"] == folds[1]["test"] and len(folds[0]["test"]) == 2
    assert len(folds[0]["validation"]) == 1
    held = [{utterance.key for utterance in fold["validation"]} for fold in folds]
    assert not held[0] & held[1] and not held[1] & held[2]
    assert sorted(utterance.key for part in folds[2].values() for utterance in part) == sorted(
        f"take{take}" for take in range(20)
    )
    with pytest.raises(UserError, match=r"at least three recordings NAME\.wav with NAME\.x"):
        recordings.find(tmp_path / "none", (".x",))


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
        load_parts("textgrid", root, tmp_path)
    assert sum("take1.TextGrid: " in line for line in caplog.text.splitlines()) > 1  # all listed


LABELS = {
    ".phn": "0 2000 h#\n2000 4800 iy\n4800 8000 s\n",
    ".TextGrid": grid([(0.0, 0.125, ""), (0.125, 0.3, "iy"), (0.3, 0.5, "s")]),
    ".ctm": ";; made by hand\ntake0 1 0.3 0.2 s 0.9\ntake0 1 0 0.125 sil\ntake0 1 0.125 0.176 iy\n"
    "take1 1 0 0.125 sil\ntake1 1 0.125 0.175 iy\ntake1 1 0.3 0.204 s\n",
}


def phones_of(root, cache_dir) -> set:
    parts = load_parts("folder", root, cache_dir).values()
    return {
        tuple(zip(record["phone"].tolist(), record["end"].tolist(), strict=True))
        for records in parts
        for record in records
    }


@pytest.mark.parametrize("suffix", LABELS)
def test_a_folder_takes_phones_with_times_in_every_form(tmp_path, suffix):
    write_recordings(tmp_path / "own", num_speakers=3, content=LABELS[suffix], suffix=suffix)
    assert phones_of(tmp_path / "own", tmp_path) == {((b"h#", 2000), (b"iy", 4800), (b"s", 8000))}


def test_a_ctm_file_of_another_name_labels_all_recordings_below_it(tmp_path):
    root = tmp_path / "own"
    write_recordings(root, num_speakers=3, content="", suffix=".ctm")
    for path in root.rglob("*.ctm"):
        path.unlink()
    (root / "all.ctm").write_text(LABELS[".ctm"])
    assert phones_of(root, tmp_path) == {((b"h#", 2000), (b"iy", 4800), (b"s", 8000))}


def test_phones_with_times_go_before_a_transcript(tmp_path):
    write_recordings(tmp_path, num_speakers=3, content=LABELS[".phn"], suffix=".phn")
    for path in list(tmp_path.rglob("*.phn")):
        path.with_suffix(".txt").write_text("he is")
    utterances = recordings.find(tmp_path, (*recordings.TIMED, *recordings.WORDS))
    assert {utterance.labels.suffix for utterance in utterances} == {".phn"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("take0 1 0.1 long iy\n", "line 1: expected `recording channel start duration phone`"),
        ("take0 1 0.1\n", "line 1: expected `recording"),
        ("take1 1 0.0 0.1 iy\n", "expected lines of the recording take0, found none"),
    ],
)
def test_what_is_wrong_with_a_ctm_file_is_named(tmp_path, content, message):
    (tmp_path / "a.ctm").write_text(content)
    with pytest.raises(ValueError, match=message):
        recordings.read_ctm(tmp_path / "a.ctm", "take0")
