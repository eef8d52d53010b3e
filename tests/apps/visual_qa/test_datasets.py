"""The official layouts, read from small folders that the tests write."""

import json

import pytest

from apps.visual_qa import config, data, datasets
from common.runs.errors import UserError


def records(name, root, cache_dir, split="train"):
    options = config.DataConfig(name=name, root=root, cache_dir=cache_dir)
    return list(data.load_split(options, split).as_numpy_iterator())


def test_easy_vqa_holds_back_whole_images_for_validation(cache_dir):
    train = {one["image_id"] for one in records("easy_vqa", None, cache_dir)}
    validation = {one["image_id"] for one in records("easy_vqa", None, cache_dir, "validation")}
    assert len(train) + len(validation) == 4000
    assert not train & validation
    assert 350 < len(validation) < 450


def test_easy_vqa_has_the_official_number_of_test_questions(cache_dir):
    found = records("easy_vqa", None, cache_dir, "test")
    assert (len(found), sum(len(one["question"]) for one in found)) == (1000, 9673)


def test_easy_vqa_types_follow_the_answer(cache_dir):
    types = {"yes": "yes/no", "no": "yes/no", "red": "color", "circle": "shape"}
    for one in records("easy_vqa", None, cache_dir, "validation"):
        for answer, kind in zip(one["answer"], one["question_type"], strict=True):
            if answer.decode() in types:
                assert kind.decode() == types[answer.decode()]


def test_daquar_questions_do_not_name_their_image(daquar, cache_dir):
    questions = {text for one in records("daquar", daquar, cache_dir) for text in one["question"]}
    assert questions == {
        b"what is on the desk  ?",
        b"how many chairs are  ?",
        b"what color is the wall  ?",
    }


def test_daquar_lists_are_one_answer_whatever_their_order(daquar, cache_dir):
    path = daquar / "qa.894.raw.train.txt"
    path.write_text(path.read_text().replace("book, scissor", "scissor,book", 5))
    answers = {one["answer"][0] for one in records("daquar", daquar, cache_dir)}
    assert answers == {b"book, scissor"}


def test_daquar_without_its_test_file_has_no_test_part(daquar, cache_dir):
    with pytest.raises(UserError, match="expected a test part of daquar"):
        records("daquar", daquar, cache_dir, "test")


def test_daquar_with_its_test_file_has_a_test_part(daquar, cache_dir):
    (daquar / "qa.894.raw.test.txt").write_text("what is red in the image3 ?\nchair\n")
    assert [one["answer"].tolist() for one in records("daquar", daquar, cache_dir, "test")] == [
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
            found = [
                one
                for part in ("train", "validation")
                for one in records("daquar", daquar, cache_dir, part)
            ]
        assert sum(len(one["question"]) for one in found) == 119
        assert "image9.png" in caplog.text
        assert "1 broken rows skipped: " in caplog.text


def test_changed_files_are_prepared_anew(daquar, cache_dir):
    assert {b"white"} <= {a for one in records("daquar", daquar, cache_dir) for a in one["answer"]}
    path = daquar / "qa.894.raw.train.txt"
    path.write_text(path.read_text().replace("white", "green"))
    answers = {a for one in records("daquar", daquar, cache_dir) for a in one["answer"]}
    assert b"green" in answers and b"white" not in answers


def test_vqa_v2_trains_on_the_commonest_normalised_answer_and_keeps_all_ten(vqa_v2, cache_dir):
    found = {
        kind: (answer, answers)
        for one in records("vqa_v2", vqa_v2, cache_dir, "test")
        for answer, answers, kind in zip(
            one["answer"], one["answers"].tolist(), one["question_type"], strict=True
        )
    }
    # "two" and "2" count together.
    assert found[b"number"] == (b"2", [b"two"] * 3 + [b"2"] * 4 + [b"3"] * 3)
    # Where all agree, the official evaluation compares as written.
    assert found[b"other"] == (b"A dog.", [b"A dog."] * 10)


def test_vqa_v2_validation_comes_from_the_training_images(vqa_v2, cache_dir):
    ids = {one["image_id"].decode() for one in records("vqa_v2", vqa_v2, cache_dir, "validation")}
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
    found = records("clevr", clevr, cache_dir)
    assert len(found) == 36
    kinds = dict(zip(found[0]["answer"], found[0]["question_type"], strict=True))
    assert kinds == {b"yes": b"yes/no", b"3": b"count", b"metal": b"attribute"}


def test_clevr_is_tested_on_the_official_validation_images(clevr, cache_dir):
    found = records("clevr", clevr, cache_dir, "test")
    assert {one["image_id"][:9] for one in found} == {b"CLEVR_val"}


def test_clevr_without_its_files_says_how_to_get_them(tmp_path, cache_dir):
    with pytest.raises(UserError, match=r"CLEVR_train_questions\.json, found none: .* download"):
        records("clevr", tmp_path, cache_dir)


def test_the_example_is_an_image_of_the_default_data():
    from pathlib import Path

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
    assert {one["image_id"] for one in train} == {f"image{n}.png".encode() for n in range(1, 11)}
    assert {one["answer"][0] for one in train} == {b"yes"}  # one class, however it is written
    assert train[0]["question_type"].tolist() == [b"kind"]
    (validation,) = records("folder", photos, cache_dir, "validation")
    assert validation["question_type"].tolist() == [b"how many?"]
    assert validation["answers"].tolist() == [[b"3"]]


def test_broken_rows_of_a_folder_are_named_by_file_and_line(photos, cache_dir):
    from apps.visual_qa import check_data

    with (photos / "questions.csv").open("a") as table:
        table.write("image1.png,Is it, or not?,no,train,\nimage1.png,,no,train,\n")
        table.write("image1.png,Why?,,train,\nnowhere.png,Why?,no,train,\n,Why?,no,train,\n")
    report = check_data.check(config.DataConfig(name="folder", root=photos, cache_dir=cache_dir))
    found = [one.replace(str(photos), "") for one in report.broken.skipped]
    wanted = {14: "expected 5 fields, got 6", 15: "empty question", 16: "empty answer"}
    wanted |= {17: "no such file", 18: "no such file"}
    for line, problem in wanted.items():
        assert sum(f"questions.csv:{line}: " in one and problem in one for one in found) == 1
    assert (report.broken.num_rows, len(found)) == (17, 5)
    assert "Not enough to train: 1 validation questions" in report.verdict()
    with pytest.raises(UserError, match=r"5 of 15, the first is .*questions\.csv:14"):
        records("folder", photos, cache_dir)


def test_on_beam_the_records_are_the_same(vqa_v2, tmp_path):
    pytest.importorskip("apache_beam")
    found = []
    for beam in (None, "runner=FnApiRunner"):
        options = config.DataConfig(
            name="vqa_v2", root=vqa_v2, cache_dir=tmp_path / str(beam), beam=beam
        )
        shown = data.load_split(options, "train")
        found.append([(one["image_id"], one["image"]) for one in shown.as_numpy_iterator()])
    assert found[0] == found[1] and found[0]


def test_beam_prepares_no_set_that_is_downloaded(tmp_path):
    name = "clevr"
    options = config.DataConfig(name=name, cache_dir=tmp_path, beam="")
    with pytest.raises(UserError, match=r"--data\.beam"):
        data.load_split(options, "train")
