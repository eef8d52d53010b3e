"""The official layouts, read from small folders that the tests write."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from apps.visual_qa import check_data, config, data, datasets
from common.inputs import datasets as preparation
from common.runs.errors import UserError


def records(name, root, cache_dir, split="train"):
    options = config.DataConfig(name=name, root=root, cache_dir=cache_dir)
    return list(data.load_split(options, split).as_numpy_iterator())


def test_easy_vqa_holds_back_whole_images_for_validation(cache_dir):
    train = {row["image_id"] for row in records("easy_vqa", None, cache_dir)}
    validation = {row["image_id"] for row in records("easy_vqa", None, cache_dir, "validation")}
    assert len(train) + len(validation) == 4000
    assert not train & validation
    assert 350 < len(validation) < 450


def test_easy_vqa_has_the_official_number_of_test_questions(cache_dir):
    test = records("easy_vqa", None, cache_dir, "test")
    assert (len(test), sum(len(row["question"]) for row in test)) == (1000, 9673)


def test_easy_vqa_types_follow_the_answer(cache_dir):
    types = {"yes": "yes/no", "no": "yes/no", "red": "color", "circle": "shape"}
    for row in records("easy_vqa", None, cache_dir, "validation"):
        for answer, kind in zip(row["answer"], row["question_type"], strict=True):
            if answer.decode() in types:
                assert kind.decode() == types[answer.decode()]


def test_daquar_questions_do_not_name_their_image(daquar, cache_dir):
    questions = {text for row in records("daquar", daquar, cache_dir) for text in row["question"]}
    assert questions == {
        b"what is on the desk  ?",
        b"how many chairs are  ?",
        b"what color is the wall  ?",
    }


def test_daquar_lists_are_one_answer_whatever_their_order(daquar, cache_dir):
    path = daquar / "qa.894.raw.train.txt"
    path.write_text(path.read_text().replace("book, scissor", "scissor,book", 5))
    answers = {row["answer"][0] for row in records("daquar", daquar, cache_dir)}
    assert answers == {b"book, scissor"}


def test_daquar_without_its_test_file_has_no_test_part(daquar, cache_dir):
    with pytest.raises(UserError, match="expected a test part of daquar"):
        records("daquar", daquar, cache_dir, "test")


def test_daquar_with_its_test_file_has_a_test_part(daquar, cache_dir):
    (daquar / "qa.894.raw.test.txt").write_text("what is red in the image3 ?\nchair\n")
    assert [row["answer"].tolist() for row in records("daquar", daquar, cache_dir, "test")] == [
        [b"chair"]
    ]


def test_daquar_cut_short_is_named(daquar, cache_dir):
    path = daquar / "qa.894.raw.train.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(UserError, match=r"qa\.894\.raw\.train\.txt: .* cut short"):
        records("daquar", daquar, cache_dir)


def test_a_missing_official_file_is_named_with_where_to_get_it(daquar, cache_dir):
    (daquar / "qa.894.raw.train.txt").unlink()
    with pytest.raises(UserError, match=r"qa\.894\.raw\.train\.txt, found none: get it from"):
        records("daquar", daquar, cache_dir)


def test_no_root_is_an_error_that_names_the_option(cache_dir):
    with pytest.raises(UserError, match=r"--data\.root"):
        records("daquar", None, cache_dir)


def test_many_unreadable_images_stop_the_preparation_and_leave_nothing(daquar, cache_dir):
    broken = daquar / "images" / "image7.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"broken rows, got 3 of .*image7\.png.*: damaged"):
        records("daquar", daquar, cache_dir)
    broken.write_bytes(whole)
    total = sum(len(records("daquar", daquar, cache_dir, part)) for part in ("train", "validation"))
    assert total == 40


def test_a_few_broken_rows_are_skipped_and_named_each_time(daquar, cache_dir, caplog):
    path = daquar / "qa.894.raw.train.txt"
    path.write_text(
        path.read_text().replace("how many chairs are in the image9 ?", "in the image9 ?")
    )
    for _ in range(2):
        caplog.clear()
        with caplog.at_level("INFO", logger="cellstate"):
            rows = [
                row
                for part in ("train", "validation")
                for row in records("daquar", daquar, cache_dir, part)
            ]
        assert sum(len(row["question"]) for row in rows) == 119
        assert "image9.png" in caplog.text
        assert "1 broken rows skipped: " in caplog.text


def test_changed_files_are_prepared_anew(daquar, cache_dir):
    assert {b"white"} <= {a for row in records("daquar", daquar, cache_dir) for a in row["answer"]}
    path = daquar / "qa.894.raw.train.txt"
    path.write_text(path.read_text().replace("white", "green"))
    answers = {a for row in records("daquar", daquar, cache_dir) for a in row["answer"]}
    assert b"green" in answers and b"white" not in answers


def test_vqa_v2_trains_on_the_commonest_normalised_answer_and_keeps_all_ten(vqa_v2, cache_dir):
    by_kind = {
        kind: (answer, answers)
        for row in records("vqa_v2", vqa_v2, cache_dir, "test")
        for answer, answers, kind in zip(
            row["answer"], row["answers"].tolist(), row["question_type"], strict=True
        )
    }
    # "two" and "2" count together.
    assert by_kind[b"number"] == (b"2", [b"two"] * 3 + [b"2"] * 4 + [b"3"] * 3)
    # Where all agree, the official evaluation compares as written.
    assert by_kind[b"other"] == (b"A dog.", [b"A dog."] * 10)


def test_vqa_v2_validation_comes_from_the_training_images(vqa_v2, cache_dir):
    ids = {row["image_id"].decode() for row in records("vqa_v2", vqa_v2, cache_dir, "validation")}
    assert ids and all(image_id.startswith("train2014-") for image_id in ids)


@pytest.mark.parametrize("name", ["questions", "annotations"])
def test_truncated_json_is_named(vqa_v2, cache_dir, name):
    path = next(path for path in vqa_v2.glob(f"*train2014_{name}.json"))
    path.write_text(path.read_text()[:-40])
    with pytest.raises(UserError, match=f"{path.name}: expected JSON, .* cut short"):
        records("vqa_v2", vqa_v2, cache_dir)


def test_json_of_another_kind_is_named(vqa_v2, cache_dir):
    path = vqa_v2 / "v2_mscoco_train2014_annotations.json"
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(UserError, match="expected a list under 'annotations'"):
        records("vqa_v2", vqa_v2, cache_dir)


def test_clevr_reads_the_unpacked_archive(clevr, cache_dir):
    train = records("clevr", clevr, cache_dir)
    assert len(train) + len(records("clevr", clevr, cache_dir, "validation")) == 40
    kinds = dict(zip(train[0]["answer"], train[0]["question_type"], strict=True))
    assert kinds == {b"yes": b"yes/no", b"3": b"count", b"metal": b"attribute"}


def test_clevr_is_tested_on_the_official_validation_images(clevr, cache_dir):
    test = records("clevr", clevr, cache_dir, "test")
    assert {row["image_id"][:9] for row in test} == {b"CLEVR_val"}


def test_clevr_without_its_files_says_where_to_get_them(tmp_path, cache_dir):
    with pytest.raises(UserError, match=r"CLEVR_train_questions\.json, found none: get it from"):
        records("clevr", tmp_path, cache_dir)


@pytest.mark.data
def test_daquar_has_the_official_number_of_training_pairs():
    """The published files themselves, where they are at hand: CELLSTATE_DATA names their folder."""
    folder = os.environ.get("CELLSTATE_DATA")
    if folder is None:
        pytest.skip("CELLSTATE_DATA is not set")
    parts = datasets.read_daquar(Path(folder) / "daquar")
    rows = [row for part in ("train", "validation") for row in parts[part]]
    assert sum(len(row.questions) for row in rows) == 6795
    assert not [row.path for row in rows if not row.path.exists()]
    texts = [question.question for row in rows for question in row.questions]
    assert not [text for text in texts if "image" in text and text[-1].isdigit()]


def test_the_example_is_an_image_of_the_default_data():
    arguments = dict(zip(*[iter(datasets.example_arguments())] * 2, strict=True))
    assert Path(arguments["--image"]).read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def photos(daquar):
    """Images of one's own with questions.csv: the official set's, in a table."""
    rows = [f"image{number}.png,Is it {number}?,Yes,train,kind" for number in range(1, 11)]
    rows += ["image11.png,How many?,3,val,", "image12.png,Is it 12?,no,test,"]
    table = daquar / "questions.csv"
    table.write_text("\n".join(["image,question,answer,split,type", *rows]) + "\n")
    return daquar


def test_a_folder_of_ones_own_has_questions_in_a_table(photos, cache_dir):
    train = records("folder", photos, cache_dir)
    assert {row["image_id"] for row in train} == {f"image{n}.png".encode() for n in range(1, 11)}
    assert {row["answer"][0] for row in train} == {b"yes"}  # one class, however it is written
    assert train[0]["question_type"].tolist() == [b"kind"]
    (validation,) = records("folder", photos, cache_dir, "validation")
    assert validation["question_type"].tolist() == [b"how many?"]
    assert validation["answers"].tolist() == [[b"3"]]


def test_a_folder_that_has_moved_gives_the_same_records_in_the_same_order(
    photos, cache_dir, tmp_path
):
    before = records("folder", photos, cache_dir)
    moved = photos.rename(tmp_path / "moved [1] ?#%41")
    after = records("folder", moved, tmp_path / "cache * {x}")
    assert [row["image_id"] for row in after] == [row["image_id"] for row in before]
    assert [row["image"] for row in after] == [row["image"] for row in before]


def test_an_answer_is_one_class_however_it_is_written(photos, cache_dir):
    spellings = ["yes certainly", "yes\ncertainly", "Yes\r\n  certainly ", "yes\rcertainly"]
    spellings += [
        "yes\u2028certainly",
        "yes\u00a0certainly",
        "yes\tcertainly\n",
        "e\u0301",
        "\u00e9",
    ]
    lines = "".join(f'image{n}.png,Is it?,"{text}"\n' for n, text in enumerate(spellings, start=1))
    with (photos / "questions.csv").open("w", newline="") as table:
        table.write(f"image,question,answer\n{lines}")
    rows = [row for part in datasets.read_folder(photos).values() for row in part]
    broken = preparation.BrokenRows("folder")
    made = [record for row in rows for _, record in datasets.make_records(row, broken)]
    answers = Counter(answer for record in made for answer in record["answer"])
    assert answers == {"yes certainly": 7, "\u00e9": 2} and not broken.skipped


def test_broken_rows_of_a_folder_are_named_by_file_and_line(photos, cache_dir):
    with (photos / "questions.csv").open("a") as table:
        table.write("image1.png,Is it, or not?,no,train,\nimage1.png,,no,train,\n")
        table.write("image1.png,Why?,,train,\nnowhere.png,Why?,no,train,\n,Why?,no,train,\n")
    report = check_data.check(config.DataConfig(name="folder", root=photos, cache_dir=cache_dir))
    skipped = [text.replace(str(photos), "") for text in report.broken.skipped]
    problems = {14: "expected 5 fields, got 6", 15: "empty question", 16: "empty answer"}
    problems |= {17: "no such file", 18: "no such file"}
    for line, problem in problems.items():
        assert sum(f"questions.csv:{line}: " in text and problem in text for text in skipped) == 1
    assert (report.broken.num_rows, len(skipped)) == (17, 5)
    assert "Not enough to train: 1 validation questions" in report.verdict()
    with pytest.raises(UserError, match=r"5 of 15, the first is .*questions\.csv:14"):
        records("folder", photos, cache_dir)


def test_on_beam_the_records_are_the_same(vqa_v2, tmp_path):
    pytest.importorskip("apache_beam")
    stored = []
    for beam in (None, "runner=FnApiRunner"):
        options = config.DataConfig(
            name="vqa_v2", root=vqa_v2, cache_dir=tmp_path / str(beam), beam=beam
        )
        split = data.load_split(options, "train").as_numpy_iterator()
        stored.append([(row["image_id"], row["image"]) for row in split])
    assert stored[0] == stored[1] and stored[0]
