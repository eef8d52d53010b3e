"""The names of emoji, and the official layouts, read from small folders that the tests write."""

import re

import pytest

from apps.translation import config, data, datasets
from apps.translation.corpora import emoji_names, home_assistant
from common.runs.errors import UserError

from .conftest import PAIRS


def options(name, root, languages=("de",), **more):
    return config.DataConfig(
        name=name, root=root, cache_dir=root and root / "cache", target_languages=languages, **more
    )


def pairs_of(data_config, split="train"):
    records = data.load_split(data_config, split).as_numpy_iterator()
    return {(row["source"].decode(), row["target"].decode()) for row in records}


def test_every_emoji_has_its_name_in_every_language():
    parts = emoji_names.read("en", ("de", "ja"))
    rows = [pair for part in parts.values() for pair in part]
    assert len(rows) == 2 * 3963
    names = {(pair.source, pair.target, pair.target_language) for pair in rows}
    dark = "woman firefighter dark skin tone"
    assert (dark, "feuerwehrfrau dunkle hautfarbe", "de") in names
    assert sum(pair.source == dark for pair in rows) == 2


def test_unseen_combinations_are_of_known_subjects_and_tones():
    parts = emoji_names.read("en", ("de", "fr"))
    sources = {part: {pair.source for pair in rows} for part, rows in parts.items()}
    for part, others in (("validation", "test"), ("test", "validation")):
        assert 200 < len(sources[part]) < 320
        assert not sources[part] & (sources["train"] | sources[others])
        words = {word for source in sources[part] for word in source.split()}
        assert words <= {word for source in sources["train"] for word in source.split()}
        assert all("skin tone" in source for source in sources[part])
    targets = {part: {pair.target for pair in rows} for part, rows in parts.items()}
    # By accident a few names are those of other emoji.
    assert len(targets["test"] & targets["train"]) <= 0.02 * len(targets["test"])


def test_home_assistant_pairs_keys_and_leaves_out_what_is_no_text(home_assistant):
    parts = emoji_parts(home_assistant)
    everything = {pair[1:3] for rows in parts.values() for pair in rows}
    assert ("Turn on light 3", "Licht einschalten 3") in everything
    assert ("Light is on now", "Licht ist jetzt an") in everything
    texts = {text for pair in everything for text in pair}
    assert not texts & {"Same text", "See https://x.y now", "On"}
    known = {text for pair in parts["train"] for text in pair[1:3]}
    for part in ("validation", "test"):
        assert parts[part] and not {text for pair in parts[part] for text in pair[1:3]} & known


def emoji_parts(_):
    home_assistant.check("en", ("de",))
    return home_assistant.read("en", ("de",))


def test_home_assistant_names_its_languages(home_assistant):
    with pytest.raises(UserError, match="expected languages out of de, en for home_assistant"):
        datasets.make_builder(config.DataConfig(name="home_assistant", target_languages=("xx",)))


def test_multi30k_is_read_as_published_also_packed(multi30k):
    chosen = options("multi30k", multi30k)
    assert pairs_of(chosen) == set(PAIRS[:48])
    assert pairs_of(chosen, "validation") == set(PAIRS[48:56])
    assert pairs_of(chosen, "test") == set(PAIRS[56:])


def test_without_a_test_part_the_others_are_there(multi30k):
    (multi30k / "test_2016_flickr.en").unlink()
    chosen = options("multi30k", multi30k)
    assert pairs_of(chosen) == set(PAIRS[:48])
    with pytest.raises(UserError, match="expected a test part of multi30k"):
        data.load_split(chosen, "test")


def test_tatoeba_keeps_a_source_in_one_part(tatoeba):
    chosen = options("tatoeba", tatoeba)
    parts = [pairs_of(chosen, part) for part in ("train", "validation", "test")]
    assert set.union(*parts) == {*PAIRS, ("The door.", "Die Tür."), ("The door.", "Das Tor.")}
    sources = [{source for source, _ in part} for part in parts]
    assert sum(map(len, sources)) == len(set.union(*sources))


def test_one_of_ones_own_files_may_be_a_table_or_aligned_texts(tmp_path):
    aligned, table = tmp_path / "aligned", tmp_path / "table"
    aligned.mkdir()
    table.mkdir()
    for place, language in enumerate(("en", "de")):
        (aligned / f"train.{language}").write_text("".join(f"{pair[place]}\n" for pair in PAIRS))
    rows = ["en,de,fr", *(f"{source},{target}," for source, target in PAIRS), "a cat,,un chat"]
    (table / "pairs.csv").write_text("\n".join(rows) + "\n")
    for root, languages in ((aligned, ("de",)), (table, ("de", "fr"))):
        chosen = options("folder", root, languages)
        parts = [pairs_of(chosen, part) for part in ("train", "validation", "test")]
        assert set.union(*parts) >= set(PAIRS)
        assert all(parts) and sum(map(len, parts)) == len(set.union(*parts))


def test_nothing_joins_a_test_part_of_ones_own(tmp_path):
    for part, pairs in (("train", PAIRS[:56]), ("test", PAIRS[56:])):
        for place, language in enumerate(("en", "de")):
            lines = "".join(f"{pair[place]}\n" for pair in pairs)
            (tmp_path / f"{part}.{language}").write_text(lines)
    chosen = options("folder", tmp_path)
    train, held_back, test = (pairs_of(chosen, part) for part in ("train", "validation", "test"))
    assert test == set(PAIRS[56:])
    assert held_back and train | held_back == set(PAIRS[:56]) and not train & held_back


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda root: (root / "train.de.gz").unlink(), r"expected .*train\.de, found none"),
        (
            lambda root: (root / "val.en.gz").rename(root / "val.en")
            and (root / "val.en").write_text("one\n"),
            r"as many lines in .*val\.en as in .*val\.de\.gz, got 1 and 8: .* is line 2",
        ),
        (lambda root: (root / "train.en.gz").write_bytes(b"no gzip"), "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_aligned_files_is_said(multi30k, change, expected):
    change(multi30k)
    with pytest.raises(UserError, match=expected):
        pairs_of(options("multi30k", multi30k))


def test_empty_lines_are_broken_rows(multi30k, caplog):
    caplog.set_level("INFO", logger="cellstate")
    for language in ("en", "de"):
        lines = [f"Text number {n}" for n in range(200)]
        lines[77] = "" if language == "de" else lines[77]
        (multi30k / f"train.{language}.gz").unlink()
        (multi30k / f"train.{language}").write_text("\n".join(lines) + "\n")
    assert len(pairs_of(options("multi30k", multi30k))) == 199
    assert re.search(r"1 broken rows skipped: .*train\.en:78: empty text", caplog.text)


@pytest.mark.parametrize("name", ["multi30k", "tatoeba", "folder"])
def test_a_folder_is_asked_for(name):
    with pytest.raises(UserError, match=r"expected --data\.root, the folder with the files of"):
        datasets.make_builder(options(name, None))


def test_emoji_names_name_their_languages():
    with pytest.raises(UserError, match=r"expected languages out of en, ar, de.*, got xx"):
        datasets.make_builder(config.DataConfig(target_languages=("xx",)))
