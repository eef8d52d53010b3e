"""Tables of one's own: rows with where they stand, and images in parts."""

import os
import unicodedata

import pytest

from common.inputs import tables
from common.runs.errors import UserError


def written(folder, text: str):
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_rows_say_where_they_stand_also_after_a_text_of_two_lines(tmp_path):
    path = written(tmp_path, 'a,b\n"one\ntwo",2\n\n 3 ,4\n')
    assert [(row.where, row.cells) for row in tables.read(path, ["a"])] == [
        (f"{path}:3", {"a": "one\ntwo", "b": "2"}),
        (f"{path}:5", {"a": "3", "b": "4"}),
    ]


def test_a_row_with_another_number_of_fields_carries_its_problem(tmp_path):
    rows = list(tables.read(written(tmp_path, "a,b\n1\n1,2\n1,2,3\n"), ["a", "b"]))
    assert [row.problem and row.problem.split(":")[0] for row in rows] == [
        "expected 2 fields, got 1",
        None,
        "expected 2 fields, got 3",
    ]
    assert rows[0].cells == {"a": "1", "b": ""}


def test_rows_with_the_same_key_stand_in_one_part(tmp_path):
    lines = [f"s{number % 100},w{number}\n" for number in range(200)]
    parts = tables.read_parts(
        written(tmp_path, "speaker,word\n" + "".join(lines)), [], key="speaker"
    )
    assert all(3 <= len(parts[part]) <= 20 for part in ("validation", "test"))
    groups = [group for part in parts.values() for group in part]
    assert sorted(group.key for group in groups) == sorted(f"s{n}" for n in range(100))
    for group in groups:
        number = int(group.key[1:])
        assert [row.cells["word"] for row in group.rows] == [f"w{number}", f"w{number + 100}"]


def test_without_a_key_equal_rows_stand_in_one_part(tmp_path):
    text = "word,tag\n" + "a,x\n" * 3 + "".join(f"w{number},y\n" for number in range(97))
    parts = tables.read_parts(written(tmp_path, text), ["word", "tag"])
    sizes = [len(group.rows) for part in parts.values() for group in part]
    assert sorted(sizes) == [1] * 97 + [3]
    assert all(3 <= len(parts[part]) <= 20 for part in ("validation", "test"))
    assert parts == tables.read_parts(tmp_path / "table.csv", ["word", "tag"])


@pytest.mark.parametrize("key", ["speaker", None])
def test_a_column_split_decides_the_parts_of_any_key(tmp_path, key):
    path = written(tmp_path, "speaker,word,split\nA,a,train\nB,a,dev\nC,c,Test\n")
    parts = tables.read_parts(path, ["speaker", "word"], key=key)
    assert {
        part: [g.rows[0].cells["speaker"] for g in groups] for part, groups in parts.items()
    } == {
        "train": ["A"],
        "validation": ["B"],
        "test": ["C"],
    }


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "inside").mkdir()
    for number in range(100):
        (tmp_path / "inside" / f"{number}.png").touch()
    return tmp_path


def test_without_a_split_a_tenth_of_the_images_is_held_back_twice(photos):
    lines = "".join(f"{number}.png,x\n{number}.png,y\n" for number in range(100))
    parts = tables.read_images(written(photos, f"image,text\n{lines}"), ["text"])
    sizes = {part: len(images) for part, images in parts.items()}
    assert sum(sizes.values()) == 100
    assert all(3 <= sizes[part] <= 20 for part in ("validation", "test"))
    first = parts["train"][0]
    assert first.path.is_file() and [row.cells["text"] for row in first.rows] == ["x", "y"]


def test_a_column_split_decides_the_parts(photos):
    path = written(photos, "image,split\n1.png,train\n2.png,dev\n3.png,Test\n4.png,val\n")
    parts = tables.read_images(path, [])
    assert {part: [one.name for one in images] for part, images in parts.items()} == {
        "train": ["1.png"],
        "validation": ["2.png", "4.png"],
        "test": ["3.png"],
    }


@pytest.mark.parametrize("name", ["a" * 300, "inside\\0.png", "nowhere.png", "inside", "a\0b"])
def test_one_name_that_leads_nowhere_leaves_the_others_readable(photos, name):
    (photos / "dead").symlink_to("nowhere")
    (photos / "loop").symlink_to("loop")
    parts = tables.read_images(written(photos, f"image\n{name}\n1.png\n2.png\n"), [])
    images = {image.name: image.path for group in parts.values() for image in group}
    assert set(images) == {name, "1.png", "2.png"}
    assert images["1.png"].is_file() and not os.path.isfile(images[name])


SPELLINGS = [
    "1.png",
    "./1.png",
    ".//1.png",
    "x/../1.png",
    "inside/../1.png",
    "link.png",
    "hard.png",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_photo_has_one_name_however_it_is_spelled(photos, spelling):
    (photos / "inside" / "link.png").symlink_to(photos / "inside" / "1.png")
    (photos / "inside" / "hard.png").hardlink_to(photos / "inside" / "1.png")
    if spelling == "ABSOLUTE":
        spelling = photos / "inside" / "1.png"
    rows = f"image,split\n1.png,train\n{spelling},"
    [images] = tables.read_images(written(photos, rows + "train\n"), []).values()
    assert [(image.name, len(image.rows)) for image in images] == [("1.png", 2)]
    with pytest.raises(UserError, match=r"csv:3: .* 1\.png in one split, got test after train"):
        tables.read_images(written(photos, rows + "test\n"), [])


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["café.png", "Việt/đường.png", "한글.png", "й/ё.png"])
def test_file_names_meet_in_any_unicode_form(tmp_path, name, in_table, on_disk):
    photo = tmp_path / unicodedata.normalize(on_disk, name)
    photo.parent.mkdir(exist_ok=True)
    photo.write_bytes(b"x")
    table = written(tmp_path, f"image,text\n{unicodedata.normalize(in_table, name)},x\n{name},y\n")
    [[image]] = tables.read_images(table, ["text"]).values()
    assert image.path == photo and image.name == name and len(image.rows) == 2


def test_rows_without_an_image_stand_in_any_part(photos):
    parts = tables.read_images(written(photos, "image,split\n1.png,train\n,train\n,test\n"), [])
    assert [image.name for image in parts["train"]] == ["1.png", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,split\n1.png,train\n1.png,test\n", r"csv:3: .* 1\.png in one split, got test"),
        ("image,split\n1.png,some\n", r"csv:2: expected split train, val or test, got 'some'"),
        ("image\nnowhere.png\n", "expected images beside .*found none of them"),
        ("image\ninside\\1.png\n", r"found none of them: .*below its folder, with / for \\$"),
        (f"image\n{'a' * 300}.png\n", "expected images beside .*found none of them"),
        ("file;text\n1.png;a\n", r"expected the columns image, image missing in \['file;text'\]"),
    ],
)
def test_a_table_that_cannot_be_divided_is_one_clear_line(photos, text, message):
    with pytest.raises(UserError, match=message) as raised:
        tables.read_images(written(photos, text), [])
    assert "\n" not in str(raised.value)
