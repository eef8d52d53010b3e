"""The official layouts, read from small folders that the tests write."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from apps.answer_selection import datasets
from common.runs.errors import UserError

NUM_QUESTIONS = 100


def read(name, root, cache_dir, split="train"):
    """Records of a split by question id."""
    builder, splits = datasets.make_builder(name, root=root, cache_dir=cache_dir)
    found = datasets.read(builder, splits[split]).as_numpy_iterator()
    return {one["question_id"].decode(): one for one in found}


def candidates(record):
    return [text.decode() for text in record["candidates"]]


def rows(part):
    """Two right sentences before two wrong ones for each question, as TREC-QA files have them."""
    return [
        (
            str(question),
            f"who won in {question} ?",
            f"{part} {word} {place} .",
            int(word == "right"),
        )
        for question in range(NUM_QUESTIONS)
        for place, word in enumerate(["right", "right", "wrong", "wrong"])
    ]


def write_toks(folder: Path, table) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, column in zip(
        ("id.txt", "a.toks", "b.toks", "sim.txt"), zip(*table, strict=True), strict=True
    ):
        (folder / name).write_text("".join(f"{value}\n" for value in column))


@pytest.fixture
def trecqa(tmp_path) -> Path:
    """castorini's folders of training and validation."""
    root = tmp_path / "trecqa"
    for part in ("train-all", "raw-dev"):
        write_toks(root / part, rows(part))
    return root


@pytest.fixture
def wikiqa(tmp_path) -> Path:
    """Official tables and `.ref` files of train and dev."""
    root = tmp_path / "wikiqa"
    root.mkdir()
    for part in ("train", "dev"):
        table = ["QuestionID\tQuestion\tDocumentID\tDocumentTitle\tSentenceID\tSentence\tLabel"]
        for number in range(60):
            table += [
                f'Q{number}\thow "old ?\tD1\tTitle\tD1-{place}\tSentence {place} .\t{place % 2}'
                for place in range(12)
            ]
        (root / f"WikiQA-{part}.tsv").write_text("\n".join(table) + "\n")
        reference = [f"{n + 1} 0 {place} {place % 2}" for n in range(60) for place in range(12)]
        (root / f"WikiQA-{part}.ref").write_text("\n".join(reference) + "\n")
    return root


@pytest.fixture
def folder(tmp_path) -> Path:
    """Tables of one's own: train.csv and test.csv."""
    root = tmp_path / "own"
    root.mkdir()
    for part in ("train", "test"):
        lines = ["label,candidate,question"]
        for number in range(NUM_QUESTIONS):
            lines += [f'{n % 2},"Text {n}, {part}",Why {number}?' for n in range(4)]
        (root / f"{part}.csv").write_text("\n".join(lines) + "\n")
    return root


def change(path: Path, old: str, new: str, times: int = 1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, times))


def test_candidates_stand_in_an_order_that_does_not_tell_the_label(trecqa, tmp_path):
    labels = np.array([one["labels"] for one in read("trecqa", trecqa, tmp_path).values()])
    assert labels.shape == (NUM_QUESTIONS, 4)
    # Right ones come first in the files; 0.5 +- 0.045 is expected at each place here.
    assert np.abs(labels.mean(axis=0) - 0.5).max() < 0.15


def test_labels_stay_with_their_sentences(trecqa, tmp_path):
    for one in read("trecqa", trecqa, tmp_path).values():
        said = [text.split()[1] == "right" for text in candidates(one)]
        assert said == one["labels"].tolist()
        assert len(set(one["candidate_ids"])) == 4
        assert list(one["candidate_ids"]) == sorted(one["candidate_ids"])


def test_numbers_are_folded_alike_in_all_parts(trecqa, tmp_path):
    change(trecqa / "train-all" / "b.toks", " 0 .", " <num> .", -1)
    train = read("trecqa", trecqa, tmp_path)["7"]
    dev = read("trecqa", trecqa, tmp_path, "validation")["7"]
    assert train["question"] == dev["question"] == b"who won in <num> ?"
    assert "train-all right <num> ." in candidates(train)
    assert "raw-dev right <num> ." in candidates(dev)


def test_trecqa_trains_and_validates_on_the_parts_that_it_should(trecqa, tmp_path):
    def first_words(name):
        parts = (read(name, trecqa, tmp_path, part) for part in ("train", "validation"))
        return [candidates(part["0"])[0].split()[0] for part in parts]

    assert first_words("trecqa") == ["train-all", "raw-dev"]
    write_toks(trecqa / "train", rows("train"))
    write_toks(trecqa / "clean-dev", rows("clean-dev"))
    shutil.rmtree(trecqa / "raw-dev")
    assert first_words("trecqa_train") == ["train", "clean-dev"]


def test_trecqa_has_a_test_part_where_the_user_has_its_files(trecqa, tmp_path):
    _, splits = datasets.make_builder("trecqa", root=trecqa, cache_dir=tmp_path)
    assert set(splits) == {"train", "validation"}
    write_toks(trecqa / "raw-test", rows("raw-test"))
    assert len(read("trecqa", trecqa, tmp_path, "test")) == NUM_QUESTIONS


def test_trecqa_reads_jsonl_packed_or_not(tmp_path):
    def line(part):
        sentences = [{"sentence": f"{part} In 1989", "label": 1}, {"sentence": "No", "label": 0}]
        return json.dumps({"question": "Who ?", "candidates": sentences}) + "\n"

    with gzip.open(tmp_path / "train-all.jsonl.gz", "wt") as file:
        file.write(line("all") * 3)
    (tmp_path / "dev.jsonl").write_text(line("dev"))
    assert len(read("trecqa", tmp_path, tmp_path / "cache")) == 3
    (record,) = read("trecqa", tmp_path, tmp_path / "cache", "validation").values()
    assert sorted(candidates(record)) == ["No", "dev In <num>"]


def test_wikiqa_sentences_do_not_stand_in_the_order_of_their_text(wikiqa, tmp_path):
    for record in read("wikiqa", wikiqa, tmp_path).values():
        places = [int(text.split()[1]) for text in candidates(record)]
        assert places != sorted(places) and len(places) == 12


def test_a_folder_without_validation_holds_back_whole_questions(folder, tmp_path):
    train, held_back = (read("folder", folder, tmp_path, part) for part in ("train", "validation"))
    assert len(train) + len(held_back) == NUM_QUESTIONS
    assert 4 <= len(held_back) <= 24
    assert not set(train) & set(held_back)
    assert len(read("folder", folder, tmp_path, "test")) == NUM_QUESTIONS


def test_a_folder_with_validation_keeps_all_its_training_questions(folder, tmp_path):
    (folder / "validation.csv").write_text("question,candidate,label\nWho?,Me,1\n")
    assert len(read("folder", folder, tmp_path)) == NUM_QUESTIONS
    assert len(read("folder", folder, tmp_path, "validation")) == 1  # with its one candidate


def test_duplicates_are_kept_with_ids_of_their_own(folder, tmp_path):
    (folder / "test.csv").write_text("question,candidate,label\na?,b,1\na?,b,0\na?,b,1\n")
    (record,) = read("folder", folder, tmp_path, "test").values()
    assert sorted(record["labels"]) == [0, 1, 1]
    assert len(set(record["candidate_ids"])) == 3


def test_a_few_broken_rows_are_skipped_and_named(trecqa, tmp_path, caplog):
    change(trecqa / "train-all" / "b.toks", "train-all wrong 3 .", "  ")
    with caplog.at_level("INFO", logger="cellstate"):
        found = read("trecqa", trecqa, tmp_path)
    assert sum(len(one["labels"]) for one in found.values()) == 4 * NUM_QUESTIONS - 1
    assert "1 broken rows skipped: question 0, '  ': empty candidate" in caplog.text


BROKEN_ROWS = {
    "2 of 2, the first is .* empty candidate": "a,,1\na, -,0\n",
    "1 of 1, the first is .* empty question": " ?,b,1\n",
    "1 of 1, .*: question of 10000 words, over 1000": "word " * 10_000 + ",b,1\n",
    "1 of 1, .*: candidate of 10000 words, over 1000": "a," + "word " * 10_000 + ",1\n",
    "expected questions with candidates in every file": "",
}


@pytest.mark.parametrize("message", BROKEN_ROWS)
def test_a_test_part_without_use_is_an_error_however_large_the_training_part(
    folder, tmp_path, message
):
    (folder / "test.csv").write_text(f"question,candidate,label\n{BROKEN_ROWS[message]}")
    with pytest.raises(UserError, match=message) as raised:
        read("folder", folder, tmp_path)
    assert "\n" not in str(raised.value)


def test_too_few_questions_to_hold_some_back_is_an_error(folder, tmp_path):
    (folder / "train.csv").write_text("question,candidate,label\na,b,1\n")
    with pytest.raises(UserError, match=r"got 1: add validation\.csv"):
        read("folder", folder, tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [("trecqa", "train-all"), ("wikiqa", "WikiQA-train.tsv"), ("folder", "train.csv")],
)
def test_missing_files_are_named_with_where_to_get_them(name, file, tmp_path):
    with pytest.raises(UserError, match=f"{file}, found none: get it from"):
        read(name, tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"--data\.root"):
        read(name, None, tmp_path)


def test_changed_files_are_prepared_anew(folder, tmp_path):
    assert len(read("folder", folder, tmp_path, "test")) == NUM_QUESTIONS
    (folder / "test.csv").write_text("question,candidate,label\na,b,1\n")
    assert len(read("folder", folder, tmp_path, "test")) == 1


def test_the_example_is_a_text_of_the_default_packages():
    arguments = dict(zip(*[iter(datasets.example_arguments())] * 2, strict=True))
    assert "patients" in Path(arguments["--passages"]).read_text(encoding="utf-8")
