"""Facts about the Wu-Palmer similarity, over a tree of seven words."""

import importlib
import sys

import pytest

from common.scoring.metrics import load_wordnet_similarity

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
    """Writes WordNet's files for the tree above: one synset per word, by byte offset."""
    offsets, data = {}, "  a licence stands here\n"
    for word, hypernym in TINY_HYPERNYMS.items():
        offsets[word] = len(data)
        pointers = f"001 @ {offsets[hypernym]:08d} n 0000" if hypernym else "000"
        data += f"{offsets[word]:08d} 03 n 01 {word} 0 {pointers} | gloss\n"
    index = [f"{word} n 1 0 1 0 {offset:08d}\n" for word, offset in sorted(offsets.items())]
    for kind in ("noun", "verb", "adj", "adv"):
        for name in (f"data.{kind}", f"index.{kind}", f"{kind}.exc"):
            (folder / name).touch()
    for name in ("cntlist.rev", "index.sense"):
        (folder / name).touch()
    lexnames = [f"{number:02d}\tfile{number}\t1\n" for number in range(45)]
    (folder / "lexnames").write_text("".join(lexnames))
    (folder / "data.noun").write_text(data)
    (folder / "index.noun").write_text("".join(index))
    (folder / "noun.exc").write_text("oxen ox\n")


@pytest.fixture
def nltk_without_data(monkeypatch, tmp_path):
    """The folder in which nltk looks for its data, and nltk's WordNet, not yet read."""
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    reader = nltk.corpus.reader.WordNetCorpusReader
    loader = nltk.corpus.util.LazyCorpusLoader("wordnet", reader, None)
    monkeypatch.setattr(nltk.corpus, "wordnet", loader)
    return tmp_path


@pytest.fixture
def similarity(nltk_without_data):
    folder = nltk_without_data / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    write_tiny_wordnet(folder)
    yield load_wordnet_similarity()
    for file in importlib.import_module("nltk.corpus").wordnet._data_file_map.values():
        file.close()


@pytest.mark.filterwarnings("ignore:The multilingual")
def test_similarity_is_twice_the_shared_depth_over_both_depths(similarity):
    for first, second, expected in (
        ("chair", "table", 2 * 3 / (4 + 4)),  # meet in furniture, at depth 3
        ("chair", "dog", 2 * 2 / (4 + 4)),  # meet in object, at depth 2
        ("chair", "furniture", 2 * 3 / (4 + 3)),
        ("entity", "dog", 2 * 1 / (1 + 4)),
        ("chairs", "chair", 1.0),  # a plural finds its singular
        ("sofa", "chair", 0.0),  # WordNet lacks it
        ("sofa", "sofa", 1.0),
    ):
        assert similarity(first, second) == pytest.approx(expected)
        assert similarity(second, first) == pytest.approx(expected)


def test_without_nltk_there_is_no_similarity(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk.corpus", None)
    assert load_wordnet_similarity() is None


def test_without_wordnet_there_is_no_similarity(nltk_without_data):
    assert load_wordnet_similarity() is None
