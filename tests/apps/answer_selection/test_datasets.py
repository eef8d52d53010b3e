"""The official layouts, read from small folders that the tests write, and the records of them."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from apps.answer_selection import data, datasets
from apps.answer_selection.config import DataConfig
from apps.answer_selection.corpora import formats
from common.runs.errors import UserError

NUM_QUESTIONS = 100
HEADER = ("question", "candidate", "label")


def load(root, cache_dir, split="train"):
    """The records of a folder of one's own, as prepared on disk."""
    config = DataConfig(name="folder", root=root, cache_dir=cache_dir)
    return list(data.load_split(config, split).as_numpy_iterator())


def read(name, root, split="train"):
    """Records of a split by question id, as preparation would make them."""
    builder = datasets.make_builder(DataConfig(name=name, root=root))
    return dict(builder._split_generators(None)[split])


def write_toks(folder: Path) -> None:
    """Two right sentences before two wrong ones for each question, as TREC-QA files have them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        (str(question), f"who won in {question} ?", f"{folder.name} {word} {place} .", label)
        for question in range(NUM_QUESTIONS)
        for word, label, place in (
            ("right", 1, 0),
            ("right", 1, 1),
            ("wrong", 0, 2),
            ("wrong", 0, 3),
        )
    ]
    for name, column in zip(formats.TOKS_FILES, zip(*rows, strict=True), strict=True):
        (folder / name).write_text("".join(f"{value}\n" for value in column))


def write_csv(path: Path, rows) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])


@pytest.fixture
def trecqa(tmp_path) -> Path:
    """castorini's folders of training and validation."""
    root = tmp_path / "trecqa"
    for part in ("train-all", "raw-dev"):
        write_toks(root / part)
    return root


@pytest.fixture
def wikiqa(tmp_path) -> Path:
    """The official tables of train and dev."""
    root = tmp_path / "wikiqa"
    root.mkdir()
    for part in ("train", "dev"):
        lines = ["QuestionID\tQuestion\tDocumentID\tDocumentTitle\tSentenceID\tSentence\tLabel"]
        for number in range(NUM_QUESTIONS):
            lines += [
                f'Q{number}\thow "old ?\tD1\tTitle\tD1-{place}\tSentence {place} .\t{place % 2}'
                for place in range(12)
            ]
        (root / f"WikiQA-{part}.tsv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def folder(tmp_path) -> Path:
    """Tables of one's own: train.csv and test.csv; the rows of a question stand apart."""
    root = tmp_path / "own"
    root.mkdir()
    for part in ("train", "test"):
        rows = [
            (f"Why {number}?", f"Text {place}, {part}", place % 2)
            for place in range(4)
            for number in range(NUM_QUESTIONS)
        ]
        write_csv(root / f"{part}.csv", rows)
    return root


def change(path: Path, old: str, new: str, times: int = 1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, times))


def test_trecqa_candidates_keep_their_labels_in_an_order_that_does_not_tell_them(trecqa):
    records = read("trecqa", trecqa).values()
    for record in records:
        words = [text.split()[1] == "right" for text in record["candidates"]]
        assert words == record["labels"]
        assert list(record["candidate_ids"]) == sorted(set(record["candidate_ids"]))
    labels = np.array([record["labels"] for record in records])
    assert labels.shape == (NUM_QUESTIONS, 4)
    # Right ones come first in the files; 0.5 +- 0.05 is expected at each place here.
    assert np.abs(labels.mean(axis=0) - 0.5).max() < 0.15


def test_numbers_are_folded_alike_in_all_parts_of_trecqa(trecqa):
    change(trecqa / "train-all" / "b.toks", " 0 .", " <num> .", -1)
    train = read("trecqa", trecqa)["7"]
    dev = read("trecqa", trecqa, "validation")["7"]
    assert train["question"] == dev["question"] == "who won in <num> ?"
    assert "train-all right <num> ." in train["candidates"]
    assert "raw-dev right <num> ." in dev["candidates"]
    # Only those that stand alone.
    text = "5 in 1989 , 1,200.5 or .08 of the 51-day 3rd 1/2 m3 7"
    folded = "<num> in <num> , <num> or .08 of the 51-day 3rd 1/2 m3 <num>"
    assert formats.fold_numbers(text) == folded


def test_trecqa_trains_on_the_part_of_its_name_and_tests_on_raw_test(trecqa):
    for part in ("train", "raw-test"):
        write_toks(trecqa / part)
    assert read("trecqa", trecqa)["0"]["candidates"][0].startswith("train-all")
    assert read("trecqa_train", trecqa)["0"]["candidates"][0].startswith("train ")
    assert read("trecqa_train", trecqa, "test")["0"]["candidates"][0].startswith("raw-test")


def test_wikiqa_sentences_do_not_stand_in_the_order_of_their_text(wikiqa):
    records = read("wikiqa", wikiqa, "validation")
    assert len(records) == NUM_QUESTIONS
    for record in records.values():
        assert record["question"] == 'how "old ?'
        places = [int(text.split()[1]) for text in record["candidates"]]
        assert places != sorted(places) and len(places) == 12
        assert [place % 2 for place in places] == record["labels"]


def test_a_folder_without_validation_holds_back_whole_questions(folder):
    train, held_back = (read("folder", folder, part) for part in ("train", "validation"))
    assert len(train) + len(held_back) == NUM_QUESTIONS
    assert 4 <= len(held_back) <= 24
    assert not set(train) & set(held_back)
    assert all(len(record["labels"]) == 4 for record in [*train.values(), *held_back.values()])
    assert len(read("folder", folder, "test")) == NUM_QUESTIONS


def test_a_folder_with_validation_keeps_all_questions_and_candidates_that_come_again(folder):
    write_csv(folder / "validation.csv", [("a?", "b", 1), ("a?", "b", 0), ("a?", "b", 1)])
    assert len(read("folder", folder)) == NUM_QUESTIONS
    (record,) = read("folder", folder, "validation").values()
    assert sorted(record["labels"]) == [0, 1, 1]
    assert len(set(record["candidate_ids"])) == 3


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("a", "-", "0"), "empty candidate"),
        ((" ?!", "b", "1"), "empty question"),
        (("a", "b", "2"), "expected a label 0 or 1, got '2'"),
        (("a", "b", ""), "expected a label 0 or 1, got ''"),
        (("a", "b"), "expected 3 fields, got 2"),
    ],
)
def test_too_many_broken_rows_are_an_error_that_names_the_first(folder, row, problem):
    write_csv(folder / "test.csv", [row])
    with pytest.raises(UserError, match=rf"got 1 of 1, .*test\.csv:2: {problem}"):
        read("folder", folder, "test")


@pytest.mark.parametrize(("part", "file"), [("validation", "train.csv"), ("test", "test.csv")])
def test_a_part_without_questions_is_a_users_error(folder, tmp_path, part, file):
    write_csv(folder / file, [("a", "b", 1)] * (part == "validation"))
    with pytest.raises(UserError, match=f"expected examples in the {part} part"):
        load(folder, tmp_path)


def test_trecqa_reads_jsonl_packed_or_not(tmp_path):
    candidates = [{"sentence": "In 1989 Ann ran .", "label": 1}, {"sentence": "No .", "label": 0}]
    line = json.dumps({"question": "Who ran ?", "candidates": candidates}) + "\n"
    with gzip.open(tmp_path / "train-all.jsonl.gz", "wt") as file:
        file.write(line)
    (tmp_path / "dev.jsonl").write_text(line)
    for part in ("train", "validation"):
        record = read("trecqa", tmp_path, part)["1"]
        rows = dict(zip(record["candidates"], record["labels"], strict=True))
        assert rows == {"In <num> Ann ran .": 1, "No .": 0}
    (tmp_path / "dev.jsonl").write_text(line + '{"question": "Why ?"}\n')
    with pytest.raises(UserError, match=r"dev\.jsonl:2: expected a list at \.candidates, got null"):
        read("trecqa", tmp_path, "validation")


def test_files_of_unequal_length_are_named(trecqa):
    change(trecqa / "raw-dev" / "sim.txt", "1\n", "")
    with pytest.raises(UserError, match=r"'b\.toks': 400, 'sim\.txt': 399.*cut short"):
        read("trecqa", trecqa)


@pytest.mark.parametrize(
    ("name", "file"),
    [("trecqa", "train-all"), ("wikiqa", "WikiQA-train.tsv"), ("folder", "train.csv")],
)
def test_missing_files_are_named_with_where_to_get_them(name, file, tmp_path):
    with pytest.raises(UserError, match=f"{file}, found none: get it from"):
        read(name, tmp_path)
    with pytest.raises(UserError, match=r"--data\.root"):
        read(name, None)


def test_changed_files_are_prepared_anew_and_rows_that_were_skipped_are_named(
    folder, tmp_path, caplog
):
    (folder / "test.csv").rename(tmp_path / "test.csv")
    assert 76 <= len(load(folder, tmp_path)) <= 96
    with pytest.raises(UserError, match="expected a test part of folder, its files are not in"):
        load(folder, tmp_path, "test")
    write_csv(folder / "test.csv", [("a", "b", 1), ("a", " ?!", 0)])
    with caplog.at_level("INFO", logger="cellstate"):
        [record] = load(folder, tmp_path, "test")
    assert record["candidates"].tolist() == [b"b"]
    assert "1 broken rows skipped" in caplog.text and "csv:3: empty candidate" in caplog.text


def test_the_example_is_a_text_of_the_default_packages():
    arguments = dict(zip(*[iter(datasets.example_arguments())] * 2, strict=True))
    assert "patients" in Path(arguments["--passages"]).read_text(encoding="utf-8")
