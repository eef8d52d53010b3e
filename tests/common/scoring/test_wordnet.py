"""Facts about the Wu-Palmer similarity, over a tree of seven words and over the real WordNet."""

import shutil
import sys

import pytest

from common.runs.errors import UserError
from common.scoring import wordnet
from common.scoring.wordnet import load_wordnet_similarity

TINY_HYPERNYMS = {
    "entity": None,
    "object": "entity",
    "furniture": "object",
    "chair": "furniture",
    "table": "furniture",
    "animal": "object",
    "dog": "animal",
}


def write_tiny_wordnet(folder):
    """Writes WordNet's noun files for the tree above: one synset per word, by byte offset."""
    offsets, data = {}, "  a licence stands here\n"
    for word, hypernym in TINY_HYPERNYMS.items():
        offsets[word] = len(data)
        pointers = f"001 @ {offsets[hypernym]:08d} n 0000" if hypernym else "000"
        data += f"{offsets[word]:08d} 03 n 01 {word} 0 {pointers} | gloss\n"
    index = [f"{word} n 1 0 1 0 {offset:08d}\n" for word, offset in sorted(offsets.items())]
    (folder / "data.noun").write_text(data)
    (folder / "index.noun").write_text("".join(index))
    (folder / "noun.exc").write_text("oxen ox\n")


@pytest.fixture(scope="module")
def tiny_similarity(tmp_path_factory):
    pytest.importorskip("nltk")
    folder = tmp_path_factory.mktemp("wordnet")
    write_tiny_wordnet(folder)
    return load_wordnet_similarity(folder)


@pytest.fixture(scope="module")
def real_similarity():
    similarity = load_wordnet_similarity()
    if similarity is None:
        pytest.skip("needs nltk and WordNet 3.0 (apt-get install wordnet-base)")
    return similarity


@pytest.mark.parametrize(
    ("first", "second", "similarity"),
    [
        ("chair", "table", 2 * 3 / (4 + 4)),  # meet in furniture, at depth 3
        ("chair", "dog", 2 * 2 / (4 + 4)),  # meet in object, at depth 2
        ("chair", "furniture", 2 * 3 / (4 + 3)),
        ("entity", "dog", 2 * 1 / (1 + 4)),
    ],
)
def test_similarity_is_twice_the_shared_depth_over_both_depths(
    tiny_similarity, first, second, similarity
):
    assert tiny_similarity(first, second) == pytest.approx(similarity)
    assert tiny_similarity(second, first) == pytest.approx(similarity)


def test_a_plural_finds_its_singular(tiny_similarity):
    assert tiny_similarity("chairs", "chair") == 1.0


def test_a_word_that_wordnet_lacks_resembles_only_itself(tiny_similarity):
    assert tiny_similarity("sofa", "chair") == 0.0
    assert tiny_similarity("sofa", "sofa") == 1.0


def test_in_the_real_wordnet_dog_and_cat_meet_at_depth_twelve(real_similarity):
    assert real_similarity("dog", "cat") == pytest.approx(2 * 12 / (14 + 14))  # in carnivore.n.01


def test_the_parts_of_a_compound_are_joined_by_an_underscore(real_similarity):
    assert real_similarity("coffee_maker", "chair") > 0
    assert real_similarity("coffee maker", "chair") == 0


def test_wordnet_is_found_zipped_among_the_data_of_nltk(monkeypatch, tmp_path):
    nltk_data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(nltk_data, "path", [str(tmp_path)])
    folder = tmp_path / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    write_tiny_wordnet(folder)
    shutil.make_archive(str(folder), "zip", folder.parent, "wordnet")
    shutil.rmtree(folder)
    similarity = load_wordnet_similarity()
    assert similarity is not None and similarity("chair", "table") == 0.75


def test_a_given_folder_without_wordnet_is_named(tmp_path):
    with pytest.raises(UserError, match=r"index\.noun: expected this file of WordNet"):
        load_wordnet_similarity(tmp_path)


def test_without_nltk_there_is_no_similarity(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    assert load_wordnet_similarity() is None


def test_without_wordnet_there_is_no_similarity(monkeypatch, tmp_path):
    nltk_data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(nltk_data, "path", [str(tmp_path)])
    monkeypatch.setattr(wordnet, "_DEBIAN_WORDNET", tmp_path)
    assert load_wordnet_similarity() is None
