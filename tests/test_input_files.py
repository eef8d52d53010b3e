"""Every kind of text file that is read: the same content, however a program has written it.

Also JSON of another structure, and data of which no row can be used.
"""

import copy
import gzip
import io
import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from apps.answer_selection.corpora import formats as questions
from apps.answer_selection.ranking import baselines, retrieval, tokenizer
from apps.image_captioning import datasets as captioning
from apps.image_captioning.corpora import formats as captions
from apps.image_captioning.corpora import ptb
from apps.phoneme_tagging import datasets as phoneme_tagging
from apps.phoneme_tagging.config import DataConfig
from apps.phoneme_tagging.corpora import alignment, phones, recordings
from apps.visual_qa import datasets as visual_qa
from common.export.standalone import words as standalone_words
from common.inputs import datasets, sound_files, tables, text
from common.inputs.text import Vocabulary
from common.layers import embeddings
from common.runs import files
from common.runs.errors import UserError


def encoded_image() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros([9, 9, 3], np.uint8)).save(file, "PNG")
    return file.getvalue()


IMAGE = encoded_image()
NAMES = ["a.png", "b.png", "c.png"]
QUESTIONS = {
    "questions": [{"question_id": n, "image_id": n, "question": f"Wo {n}?"} for n in range(3)]
}
ANNOTATIONS = {
    "annotations": [
        {"question_id": n, "image_id": n, "answer_type": "other", "answers": [{"answer": "Öl"}] * 2}
        for n in range(3)
    ]
}
CLEVR = {
    "questions": [{"image_filename": name, "question": "Wo?", "answer": "ö"} for name in NAMES]
}
KARPATHY = {
    "images": [
        {"filename": name, "filepath": "", "split": split, "sentences": [{"raw": "Öl"}] * 2}
        for name, split in zip(NAMES, ("train", "val", "test"), strict=True)
    ]
}
JSONL = {"question": "Wo?", "candidates": [{"sentence": "Öl", "label": 1}] * 2}
GRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 0.5\n'
    'tiers? <exists>\nsize = 1\nitem []:\nitem [1]:\nclass = "IntervalTier"\nname = "phones"\n'
    "xmin = 0\nxmax = 0.5\nintervals: size = 1\nintervals [1]:\nxmin = 0\nxmax = 0.5\n"
    'text = "ö\u2028ö"\n'
)


def vqa_v2(root: Path) -> dict:
    """Both parts, of the same files."""
    for name, content in (("questions", QUESTIONS), ("annotations", ANNOTATIONS)):
        for file in root.glob(f"*train2014_{name}.json"):
            (root / file.name.replace("train", "val")).write_bytes(file.read_bytes())
        for part in ("train", "val"):
            (root / f"{part}2014").mkdir(exist_ok=True)
            prefix = "v2_OpenEnded" if name == "questions" else "v2"
            path = root / f"{prefix}_mscoco_{part}2014_{name}.json"
            if not path.exists():
                path.write_text(json.dumps(content))
            for number in range(3):
                (root / f"{part}2014" / f"COCO_{part}2014_{number:012d}.jpg").write_bytes(IMAGE)
    return visual_qa.read_vqa_v2(root)


def clevr(root: Path) -> dict:
    """Both parts, of the same file."""
    for part in ("train", "val"):
        images = root / "CLEVR_v1.0" / "images" / part
        images.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (images / name).write_bytes(IMAGE)
    train = root / "CLEVR_v1.0" / "questions" / "CLEVR_train_questions.json"
    train.with_name("CLEVR_val_questions.json").write_bytes(train.read_bytes())
    return visual_qa.read_clevr(root)


def daquar(root: Path) -> dict:
    (root / "images").mkdir(exist_ok=True)
    return visual_qa.read_daquar(root)


def beside_images(path: Path) -> Path:
    for name in NAMES:
        (path.parent / name).write_bytes(IMAGE)
    return path


def flickr8k(path: Path) -> dict:
    """`path` is one of its files; those that are absent are written."""
    folder = path.parent
    contents = {f"Flickr_8k.{part}Images.txt": f"{name}\n" for part, name in PARTS.items()}
    for name, content in {**contents, "Flickr8k.token.txt": FLICKR}.items():
        if not (folder / name).exists():
            (folder / name).write_text(content)
    photos = folder.parent / "photos"
    photos.mkdir(exist_ok=True)
    for name in NAMES:
        (photos / name).write_bytes(IMAGE)
    return captions.read_flickr8k(folder / "Flickr8k.token.txt")


PARTS = dict(zip(("train", "dev", "test"), NAMES, strict=True))
FLICKR = "".join(f"{name}#{n}\tÖl {n} \u2028 \x85 .\n" for name in NAMES for n in range(2))


def toks(path: Path) -> dict:
    """`path` is one of the four files of a part; the others are written."""
    for name in questions.TOKS_FILES:
        if not (path.parent / name).exists():
            (path.parent / name).write_text("1\n0\n")
    return questions.read_trecqa(path.parent.parent, train=path.parent.name)


def vectors(path: Path) -> tuple:
    words = ["<pad>", "öl", "x\u2028", "z"]
    return (
        embeddings.load_word_vectors(words, path=path).matrix.tolist(),
        embeddings.frequent_words(path=path, most=9),
    )


def jsonl(path: Path) -> dict:
    return questions.read_trecqa(path.parent, train="train-all")


Reader = Callable[[Path], object]
QUESTION_TABLE = 'image,question,answer\na.png,"Wo,\u2028 wo?",Öl\nb.png,Wo?,x\x85y\nc.png,Wo?,x\n'
# The file, what is in it, and what reads it.
KINDS: dict[str, tuple[str, str, Reader]] = {
    "questions.csv": ("questions.csv", QUESTION_TABLE,
        lambda path: visual_qa.read_folder(beside_images(path).parent)),
    "captions.csv": ("captions.csv", 'image,caption\na.png,"Öl\u2028 x"\nb.png,x\x85y\n',
        lambda path: captions.read_folder(beside_images(path))),
    "train.csv": ("train.csv", 'question,candidate,label\nWo?,"Öl,\u2028 x",1\nWo?,y\x85,0\n',
        lambda path: questions.read_folder(path.parent)),
    "WikiQA": ("WikiQA-train.tsv", 'QuestionID\tQuestion\tSentence\tLabel\n1\t"Wo?\tÖl\u2028y\t1\n',
        lambda path: questions.read_wikiqa(path.parent)),
    "toks": ("train/a.toks", "wo ? Öl\u2028\x85 y\nx\n", toks),
    "labels": ("train/sim.txt", "1\n0\n", toks),
    "jsonl": ("train-all.jsonl", f"{json.dumps(JSONL, ensure_ascii=False)}\n" * 2, jsonl),
    "gzip": ("train-all.jsonl.gz", f"{json.dumps(JSONL, ensure_ascii=False)}\n" * 2, jsonl),
    "karpathy": ("dataset.json", json.dumps(KARPATHY, ensure_ascii=False),
        lambda path: captions.read_karpathy(beside_images(path))),
    "flickr8k captions": ("text/Flickr8k.token.txt", FLICKR, flickr8k),
    "flickr8k photos": ("text/Flickr_8k.trainImages.txt", "a.png\nd.png\n", flickr8k),
    "vqa questions": ("v2_OpenEnded_mscoco_train2014_questions.json",
        json.dumps(QUESTIONS, ensure_ascii=False, indent=1), lambda path: vqa_v2(path.parent)),
    "vqa annotations": ("v2_mscoco_train2014_annotations.json",
        json.dumps(ANNOTATIONS, ensure_ascii=False, indent=1), lambda path: vqa_v2(path.parent)),
    "clevr": ("CLEVR_v1.0/questions/CLEVR_train_questions.json",
        json.dumps(CLEVR, ensure_ascii=False), lambda path: clevr(path.parents[2])),
    "daquar": ("qa.894.raw.train.txt", "what\u2028 is in image1 ?\nÖl, x\n" * 2,
        lambda path: daquar(path.parent)),
    "phone map": ("map.txt", "ö iy\nbreath -\n", phones.read_map),
    "phn": ("a.phn", "0 2000 h#\n2000 5000 iy\n", recordings.read_phn),
    "ctm": ("a.ctm", "a 1 0 0.1 sil\na 1 0.1 0.2 ö\n",
        lambda path: recordings.read_ctm(path, "a", 8000)),
    "textgrid": ("a.TextGrid", GRID, lambda path: recordings.read_textgrid(path, None, 8000)),
    "transcript": ("a.lab", "Öl \u2028 und\n\nmehr\n", lambda path: files.read_text(path).strip()),
    "word vectors": ("v.txt", "öl 1 2\nx\u2028 2 3\ny\x85 3 4\nz 4 5\n", vectors),
    "word2vec": ("v.txt", "3 2\nöl 1 2\nx\u2028 2 3\nz 4 5\n", vectors),
    "passages": ("text.txt", "Öl ist da.\n\nWo\u2028 ist es?\n", retrieval.read_sentences),
    "config": ("config.json", '{"app": "Öl",\n "data": {"name": "x"}}\n', files.read_json),
}  # fmt: skip

WRITERS: dict[str, Callable[[str], bytes]] = {
    "mark": lambda text: text.encode("utf-8-sig"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR CRLF": lambda text: text.replace("\n", "\r\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "no last end": lambda text: text.rstrip("\n").encode(),
    "all": lambda text: text.rstrip("\n").replace("\n", "\r\n").encode("utf-8-sig"),
    "UTF-16": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "UTF-16, high first": lambda text: ("\ufeff" + text).encode("utf-16-be"),
}
# Word vectors are read line by line, where "\n" alone ends one; TextGrids by praatio.
LINE_BY_LINE = ("CR", "UTF-16", "UTF-16, high first")
OWN_READERS = {
    "word vectors": LINE_BY_LINE,
    "word2vec": LINE_BY_LINE,
}


def write(path: Path, encoded: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(encoded) if path.suffix == ".gz" else encoded)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_alike_whatever_program_wrote_it(tmp_path, kind):
    name, text, read = KINDS[kind]
    expected = read(write(tmp_path / name, text.encode()))
    assert expected
    for writer, encode in WRITERS.items():
        if writer in OWN_READERS.get(kind, ()):
            continue
        assert read(write(tmp_path / name, encode(text))) == expected, writer


def test_pronunciations_are_read_whatever_program_wrote_them(tmp_path):
    pytest.importorskip("pocketsphinx")
    text = "zyx Z IH K S\ncafe\u0301 K AE F EY\nqqq K\n"
    aligner = alignment.Aligner(write(tmp_path / "words.txt", WRITERS["all"](text)))
    assert aligner.unknown(["zyx", *alignment.words_of("Café"), "qqq", "qqqq"]) == ["qqqq"]


# A vocabulary is cut short where its last line does not end.
@pytest.mark.parametrize("writer", sorted(WRITERS.keys() - {"no last end", "all"}))
def test_a_vocabulary_is_read_whatever_program_wrote_it(tmp_path, standalone, writer):
    text = "<pad>\nöl\nx\u2028y\n\nx\x85y\n"
    path = write(tmp_path / "vocab.txt", WRITERS[writer](text))
    assert Vocabulary.load(path, size=5).tokens == tuple(text.split("\n")[:-1])
    if not writer.startswith(("UTF-16", "CR CRLF")):
        network = standalone("common/export/standalone/network.py")
        assert network.read_lines(path) == text.split("\n")[:-1]


# JSON of another structure


def records(rows: list, broken: datasets.BrokenRows, make: Callable) -> list:
    return [record for row in rows for record in make(row, broken)]


def count_karpathy(root: Path, broken: datasets.BrokenRows) -> None:
    parts = captions.read_karpathy(beside_images(root / "dataset.json"))
    for rows in parts.values():
        records(rows, broken, lambda *row: captioning._records(captioning.Listed.read_image, *row))


def count_vqa(read: Callable) -> Callable:
    def count(root: Path, broken: datasets.BrokenRows) -> None:
        for rows in read(root).values():
            records(rows, broken, visual_qa.make_records)

    return count


def count_jsonl(root: Path, broken: datasets.BrokenRows) -> None:
    from apps.answer_selection.datasets import make_records

    for rows in jsonl(root / "train-all.jsonl").values():
        records(rows, broken, make_records)


STRUCTURES: dict[str, tuple[dict, Callable]] = {
    "dataset.json": (KARPATHY, count_karpathy),
    "v2_OpenEnded_mscoco_train2014_questions.json": (QUESTIONS, count_vqa(vqa_v2)),
    "v2_mscoco_train2014_annotations.json": (ANNOTATIONS, count_vqa(vqa_v2)),
    "CLEVR_v1.0/questions/CLEVR_train_questions.json": (CLEVR, count_vqa(clevr)),
    "train-all.jsonl": (JSONL, count_jsonl),
}
ODD = [None, 7, 0.5, True, "", "x", "\ud83d", [], [None], {}]
MISSING = object()


def places(value: object, place: tuple = ()) -> Iterator[tuple]:
    """Where in a JSON value another one may stand."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1])  # pyright: ignore
    for name, part in inner:
        if isinstance(part, dict | list):
            yield from places(part, (*place, name))
        else:
            yield (*place, name)


def changed(value: object, place: tuple, odd: object) -> object:
    value = copy.deepcopy(value)
    if not place:
        return odd
    *outer, last = place
    inside = value
    for name in outer:
        inside = inside[name]  # pyright: ignore
    if odd is MISSING:
        del inside[last]  # pyright: ignore
    else:
        inside[last] = odd  # pyright: ignore
    return value


@pytest.mark.parametrize("name", STRUCTURES)
def test_json_of_another_structure_is_a_broken_row_or_an_error_of_one_line(tmp_path, name):
    whole, count = STRUCTURES[name]
    outcomes = set()
    for place in places(whole):
        for odd in [*ODD, *[MISSING] * bool(place)]:
            path = write(tmp_path / name, json.dumps(changed(whole, place, odd)).encode())
            for other in tmp_path.glob("*val2014*.json"):
                other.unlink()
            broken = datasets.BrokenRows("x", max_share=1.0)
            try:
                count(tmp_path, broken)
            except UserError as error:
                assert path.name in str(error) and "\n" not in str(error), (place, odd)
                outcomes.add("error")
            else:
                assert all(f"{path.suffix}" in row for row in broken.skipped)
                outcomes.add("broken" if broken.skipped else "usable")
    assert "broken" in outcomes


def test_what_is_wrong_with_a_row_is_named_with_its_place(tmp_path):
    row = {"images": [*KARPATHY["images"], {"filename": "a.png", "split": "train", "sentences": 3}]}
    write(tmp_path / "dataset.json", json.dumps(row).encode())
    broken = datasets.BrokenRows("x")
    count_karpathy(tmp_path, broken)
    path, image = tmp_path / "dataset.json", tmp_path / "a.png"
    assert (broken.num_rows, broken.skipped) == (
        7,
        [f"{path}, images[3]: {image}, '': expected a list at .sentences, got 3"],
    )


# Data of which no row can be used


def captions_of_webp(root: Path) -> None:
    write(root / "captions.csv", b"image,caption\n" + b"".join(b"%d.jpg,x\n" % n for n in range(9)))
    for number in range(9):
        (root / f"{number}.jpg").write_bytes(b"RIFF\x24\0\0\0WEBPVP8 ")


def questions_of_webp(root: Path) -> None:
    captions_of_webp(root)
    rows = b"".join(b"%d.jpg,Why?,x\n" % number for number in range(9))
    write(root / "questions.csv", b"image,question,answer\n" + rows)


def recordings_of_unknown_phones(root: Path) -> None:
    for number in range(9):
        write(root / f"{number}.wav", sound_files.encode(np.zeros(8000)))
        write(root / f"{number}.TextGrid", GRID.replace("ö\u2028ö", "spn").encode())


def timit_of_kaggle(root: Path) -> None:
    for number in range(9):
        write(root / f"TRAIN/DR1/S{number}/SI1.WAV.wav", sound_files.encode(np.zeros(8000)))
        write(root / f"TRAIN/DR1/S{number}/SI1.PHN", b"0 8000 h#\n")


@pytest.mark.parametrize(
    ("app", "name", "make", "problem"),
    [
        ("image_captioning", "folder", captions_of_webp, "not a JPEG, PNG or BMP"),
        ("visual_qa", "folder", questions_of_webp, "not a JPEG, PNG or BMP"),
        (
            "answer_selection",
            "folder",
            lambda root: write(root / "train.csv", b"question,candidate,label\nWhy?,So.,1.0\n" * 2),
            "expected a label 0 or 1, got '1.0'",
        ),
        ("phoneme_tagging", "folder", recordings_of_unknown_phones, "unknown phone 'spn'"),
        ("phoneme_tagging", "timit", timit_of_kaggle, "expected a sound file, found none"),
    ],
)
def test_data_of_which_no_row_can_be_used_gives_its_report(
    tmp_path, capsys, run_command, app, name, make, problem
):
    make(tmp_path)
    run_command(app, "check_data", "--data.name", name, "--data.root", tmp_path)
    report = capsys.readouterr().out
    assert problem in report and "100.0% of the rows broken" in report


# Photos that stand in two parts


@pytest.mark.parametrize(
    "spelling", ["a.png", "./a.png", ".//a.png", "b/../a.png", "link.png", "ABSOLUTE"]
)
def test_a_photo_has_one_name_in_karpathys_file(tmp_path, spelling):
    spelling = str(tmp_path / "a.png") if spelling == "ABSOLUTE" else spelling
    beside_images(tmp_path / "dataset.json")
    (tmp_path / "b").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")

    def read(split: str) -> dict:
        other = {"filename": spelling, "split": split, "sentences": [{"raw": "Wein"}]}
        content = {"images": [*KARPATHY["images"], other]}
        return captions.read_karpathy(
            write(tmp_path / "dataset.json", json.dumps(content).encode())
        )

    [image] = read("restval")["train"]
    assert image.name == "a.png"
    assert [row.cells["caption"] for row in image.rows] == ["Öl", "Öl", "Wein"]
    with pytest.raises(UserError, match=r"images\[3\].*a\.png in one split, got test after train"):
        read("test")


def test_a_photo_of_flickr8k_stands_in_one_part(tmp_path):
    names = write(tmp_path / "text" / "Flickr_8k.devImages.txt", b"b.png\n./a.png\n")
    with pytest.raises(UserError, match=r"a\.png in one split, got validation after train"):
        flickr8k(names)
    write(names, b"b.png\nb.png\n./b.png\n")
    [dev] = flickr8k(names)["validation"]
    captions = [row.cells["caption"] for row in dev.rows]
    assert dev.name == "b.png" and captions[:2] == captions[2:]


def test_the_rows_of_a_table_of_tables_know_one_spelling(tmp_path):
    rows = "Cafe\u0301  X,1\nCafé X,2\n Café\u00a0X ,3\n"
    (tmp_path / "table.csv").write_text(f"speaker,word\n{rows}")
    [[group]] = tables.read_parts(tmp_path / "table.csv", ["word"], key="speaker").values()
    assert (group.key, len(group.rows)) == ("Café X", 3)


# Letters with marks, composed or not

WORDS = ["café", "việt", "йод", "한글", "ὥρα", "ǰ", "naïve"]
SPLITTERS: dict[str, Callable[[str], list[str]]] = {
    "captions": ptb.tokenize,
    "BM25": baselines.words,
    "transcripts": alignment.words_of,
    "words": text.WORDS.split,
    "cased": text.CASED.split,
    "spaces": text.SPACES.split,
    "exports": standalone_words.split,
    "questions": lambda raw: [w.decode() for w in tokenizer.words(tf.constant([raw]))[0].numpy()],
}


@pytest.mark.parametrize("splitter", SPLITTERS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_words_are_the_same(splitter, form):
    assert SPLITTERS[splitter](unicodedata.normalize(form, " ".join(WORDS))) == WORDS


def test_search_finds_a_word_in_the_other_form(tmp_path):
    for number, form in enumerate(("NFC", "NFD")):
        content = unicodedata.normalize(form, f"Das Café {number} ist voll.")
        (tmp_path / f"{number}.txt").write_text(content)
    for form in ("NFC", "NFD"):
        sentences = retrieval.Index(tmp_path).search(unicodedata.normalize(form, "café"))
        assert [unicodedata.normalize("NFC", sentence) for sentence in sentences] == [
            "Das Café 0 ist voll.",
            "Das Café 1 ist voll.",
        ]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("suffix", [".TextGrid", ".ctm", ".phn"])
def test_a_recording_meets_its_labels_in_the_other_form(tmp_path, form, suffix):
    other = "NFD" if form == "NFC" else "NFC"
    for number in range(3):
        name = f"séance-{number}"
        sound = tmp_path / "own" / f"{unicodedata.normalize(form, name)}.wav"
        write(sound, sound_files.encode(np.zeros(8000)))
        labels = {
            ".TextGrid": GRID.replace("ö\u2028ö", "e\u0303"),
            ".ctm": f"{unicodedata.normalize(other, name)} 1 0 0.5 e\u0303\n",
            ".phn": "0 8000 e\u0303\n",
        }
        labelled = sound.with_name(f"{unicodedata.normalize(other, name)}{suffix}")
        write(labelled, labels[suffix].encode())
    write(tmp_path / "map.txt", unicodedata.normalize(form, "ẽ ey\n").encode())
    config = DataConfig(name="folder", root=tmp_path / "own", phone_map=tmp_path / "map.txt")
    builder = phoneme_tagging.make_builder(config)
    made = [record for part in builder._split_generators(None).values() for _, record in part]
    assert sorted(record["utterance_id"] for record in made) == [f"séance-{n}" for n in range(3)]
    assert {segment["phone"] for record in made for segment in record["phones"]} == {"ey"}
    assert not builder.broken.skipped
