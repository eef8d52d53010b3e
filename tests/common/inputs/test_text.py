"""Facts about words, their ids and vocabularies."""

import dataclasses
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.export.standalone import words
from common.inputs import tables, text
from common.inputs.text import END, PAD, SPECIALS, START, UNK, Vocabulary
from common.runs.errors import UserError


def standardized(*texts: str | bytes) -> list[str]:
    return [value.decode() for value in text.WORDS.standardize(tf.constant(texts)).numpy()]


@pytest.fixture
def table():
    return Vocabulary.of_words({"cat": 2, "dog": 1}).make_table(unknown=UNK)  # cat = 4, dog = 5


# Standard form


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("What COLOR is it?", "what color is it"),
        ("  two\t\n spaces ", "two spaces"),
        ("it\u2019s, don't; dogs'", "it's don't dogs"),
        ("'quoted' words", "quoted words"),
        ("'one' 'two'", "one two"),
        ("rock ''n'' ''roll''", "rock n roll"),
        ("a ' b", "a b"),
        ("table_1", "table_1"),
        ("3.5 m", "3 5 m"),
        ("ÉCOLE Straße ΑΒΓ", "école straße αβγ"),
        ("日本 語", "日本 語"),
        ("E\u0301te\u0301", "été"),
        ("J\u030c \u212b", "ǰ å"),  # J has no capital with a mark; the sign is a letter
        ("a\u00a0b\u2003c\u2028d", "a b c d"),
        ("a\x00b", "a b"),
        ("?!", ""),
        ("'", ""),
        ("", ""),
    ],
)
def test_text_takes_this_form(raw, expected):
    assert standardized(raw) == [expected]


def test_bytes_that_are_not_utf8_separate_words():
    assert standardized(b"caf\xe9 bar", b"\xff\xfe", b"a\xffb") == ["caf bar", "", "a b"]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20) | st.text("ab'\u2019` ,", max_size=12))
def test_text_in_standard_form_stays_as_it_is(raw):
    once = standardized(raw)
    assert standardized(*once) == once


@settings(max_examples=100, deadline=None)
@given(st.text("ab'\u2019`_1 ,.", max_size=12))
def test_no_word_begins_or_ends_with_an_apostrophe(raw):
    assert [word for word in standardized(raw)[0].split() if word != word.strip("'")] == []


def test_the_shape_of_strings_is_kept():
    assert text.WORDS.standardize(tf.constant([["A"], ["b!"]])).numpy().tolist() == [[b"a"], [b"b"]]


# Other tokenizers

RAW = "\u201cDon\u2019t\u201d, he's 'SO' e\u0301t\ufeffé\u00a0x: 3.5 km/h \x00 <unk>"


@pytest.mark.parametrize(
    ("tokenizer", "expected"),
    [
        (text.WORDS, "don't he's so ét é x 3 5 km h unk"),
        (
            text.CASED,
            "\u201c Don't \u201d , he's ' SO ' ét é x : 3 . 5 km / h < unk >",
        ),
        (
            text.SPACES,
            "\u201cDon\u2019t\u201d, he's 'SO' ét\ufeffé x: 3.5 km/h <unk>",
        ),
        (text.Tokenizer(lower=True, marks="split"), None),
    ],
)
def test_a_tokenizer_says_what_is_a_word(tokenizer, expected):
    if expected is None:
        expected = " ".join(text.CASED.split(RAW)).lower()
    assert " ".join(tokenizer.split(RAW)) == expected


def assigned() -> list[str]:
    """All characters that Python's table of Unicode and both of TensorFlow's have."""
    in_python = [c for c in map(chr, range(1, 0x110000)) if unicodedata.category(c)[0] != "C"]
    lower = tf.strings.lower(in_python, encoding="utf-8").numpy()
    return [c for c, small in zip(in_python, lower, strict=True) if c.lower().encode() == small]


MARKED = "J=eA\u030c\u0338\u0323\u0302\u1100\u1161\u11a8\u037e\u1fef"  # that NFC changes
SPECIAL = MARKED + "aB1_'\u2019` .,-\u0301\u0308\u0345Σ\u03c3İǅßéÉ\u200d\ufeff\x00\x1c\u2028"
CHARACTERS = st.sampled_from(SPECIAL) | st.deferred(lambda: st.sampled_from(assigned()))


@pytest.mark.parametrize("marks", ["drop", "split", "keep"])
def test_pipelines_python_and_exports_find_the_same_words(marks):
    tokenizers = [text.Tokenizer(lower=lower, marks=marks) for lower in (True, False)]
    given_texts = tf.TensorSpec([None], tf.string)
    pipelines = [tf.function(one, input_signature=[given_texts]) for one in tokenizers]

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.text(CHARACTERS, max_size=20), min_size=1, max_size=8))
    def agree(texts):
        for tokenizer, pipeline in zip(tokenizers, pipelines, strict=True):
            in_graph = [[w.decode() for w in row] for row in pipeline(tf.constant(texts)).to_list()]
            options = dataclasses.asdict(tokenizer)
            assert in_graph == [words.split(raw, **options) for raw in texts]
            assert in_graph[0] == tokenizer.split(texts[0])

    agree()


def test_ids_are_those_of_the_words_of_the_tokenizer():
    table = Vocabulary.of_words({"A": 3, "dog": 2, "!": 1}).make_table(unknown=UNK)
    ids, _ = text.encode(tf.constant(["A dog!"]), table, max_words=9, tokenizer=text.CASED)
    assert ids.numpy().tolist() == [[4, 5, 6]]


# Ids


@pytest.mark.parametrize(
    ("texts", "max_words", "expected"),
    [
        (["A dog!", "cat dog cat"], 9, [[UNK, 5, PAD], [4, 5, 4]]),  # padding on the right
        (["cat dog dog dog", "cat"], 2, [[4, 5], [4, PAD]]),  # cut off
        ([""], 9, [[PAD]]),  # at least one step
        (["?", " "], 9, [[PAD], [PAD]]),
        (["cat dog", "", "dog"], 9, [[4, 5], [PAD, PAD], [5, PAD]]),
        (["<pad> <end>"], 9, [[UNK, UNK]]),  # words like any other
    ],
)
def test_words_become_ids_and_a_mask(table, texts, max_words, expected):
    ids, mask = text.encode(tf.constant(texts), table, max_words=max_words)
    assert ids.numpy().tolist() == expected
    assert mask.numpy().tolist() == [[token != PAD for token in row] for row in expected]
    assert (ids.dtype, mask.dtype) == (tf.int32, tf.bool)


def test_a_batch_of_no_texts_has_no_rows(table):
    ids, _ = text.encode(tf.zeros([0], tf.string), table, max_words=9)
    assert ids.shape[0] == 0


def test_a_data_pipeline_gives_the_ids_of_an_eager_call(table):
    texts = ["It\u2019s a CAT", "", "dog dog, 'cat' x"]
    eager_ids, eager_mask = text.encode(tf.constant(texts), table, max_words=3)
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(3)
    ids, mask = next(iter(dataset.map(lambda t: text.encode(t, table, max_words=3))))
    assert ids.numpy().tolist() == eager_ids.numpy().tolist()
    assert mask.numpy().tolist() == eager_mask.numpy().tolist()


def test_in_a_graph_batch_and_time_stay_free(table):
    traced = tf.function(lambda texts: text.encode(texts, table, max_words=9))
    ids, mask = traced.get_concrete_function(tf.TensorSpec([None], tf.string)).structured_outputs
    assert ids.shape.as_list() == mask.shape.as_list() == [None, None]


def test_rows_without_a_word_are_named():
    mask = tf.constant([[True, False], [False, False], [False, True], [False, False]])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)question.*found none.*\b1, 3$"):
        text.assert_words(mask, "question")


def test_rows_with_words_pass_unchanged():
    mask = np.array([[True, False], [True, True]])
    np.testing.assert_array_equal(text.assert_words(tf.constant(mask), "question"), mask)


def test_a_graph_too_names_the_rows_without_a_word():
    refuse = tf.function(lambda mask: text.assert_words(mask, "question"))
    mask = tf.constant([[False], [True], [False], [False], [False], [False]])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"none in row.*\[0 2 3 4 5\]"):
        refuse(mask)


# Vocabularies


def test_the_special_tokens_have_the_first_ids():
    tokens = Vocabulary.of_words({"cat": 1}).tokens
    assert [tokens[i] for i in (PAD, UNK, START, END)] == ["<pad>", "<unk>", "<start>", "<end>"]


@pytest.mark.parametrize(
    ("counts", "options", "expected"),
    [
        ({"b": 1, "c": 3, "a": 1, "d": 2}, {}, ("c", "d", "a", "b")),  # by count, then alphabet
        ({"<unk>": 9, "<pad>": 8, "cat": 1}, {}, ("cat",)),  # special tokens are not data
        ({"a": 3, "b": 2}, {"min_count": 3}, ("a",)),
        ({"a": 3, "b": 2, "c": 1}, {"max_size": 2}, ("a", "b")),
    ],
)
def test_a_vocabulary_has_the_special_tokens_and_the_frequent_words(counts, options, expected):
    assert Vocabulary.of_words(counts, **options).tokens == (*SPECIALS, *expected)


def test_labels_begin_at_id_zero():
    labels = Vocabulary.of_labels({"yes": 2, "no": 5})
    assert labels.tokens == ("no", "yes")
    ids = labels.make_table(unknown=-1).lookup(tf.constant(["no", "yes", "?"]))
    assert ids.numpy().tolist() == [0, 1, -1]


def test_a_vocabulary_survives_its_file(tmp_path):
    words = Vocabulary.of_words({"naïve": 2, "日本": 1, "it's": 1})
    words.save(tmp_path / "vocab.txt")
    assert Vocabulary.load(tmp_path / "vocab.txt") == words


@pytest.mark.parametrize("label", ["red and blue", "1/2", "a\u2028b", "a\x0bb", " x "])
def test_a_label_with_odd_spaces_survives_its_file(tmp_path, label):
    labels = Vocabulary.of_labels({label: 2, "no": 1})
    labels.save(tmp_path / "vocab.txt")
    labels.save(tmp_path / "vocab.txt")  # by a run that goes on
    assert Vocabulary.load(tmp_path / "vocab.txt") == labels


def test_a_run_does_not_go_on_with_the_tokens_of_other_data(tmp_path):
    Vocabulary.of_labels({"yes": 2, "no": 1}).save(tmp_path / "vocab.txt")
    with pytest.raises(UserError, match=r"expected data with the tokens of .*vocab\.txt, got oth"):
        Vocabulary.of_labels({"yes": 1, "no": 2}).save(tmp_path / "vocab.txt")
    assert Vocabulary.load(tmp_path / "vocab.txt").tokens == ("yes", "no")


ANY_TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("\n\r\x85\u2028\ufeff \t\x1c\0"))


@settings(max_examples=200, deadline=None)
@given(raw=st.lists(ANY_TEXT, min_size=1))
def test_labels_in_one_line_survive_their_file_whatever_they_are(tmp_path_factory, raw):
    labels = Vocabulary.of_labels(dict.fromkeys(map(tables.one_line, raw), 1))
    path = tmp_path_factory.getbasetemp() / "any_labels.txt"
    if labels.tokens:
        path.unlink(missing_ok=True)
        labels.save(path)
        assert Vocabulary.load(path, size=len(labels)) == labels


@pytest.mark.parametrize(
    "token", ["yes\ncertainly", "a\rb", "a\r\nb", "\n", "a\n", "\r", "\ud800", "\ufeffa"]
)
def test_a_token_that_no_line_can_hold_is_refused_and_not_written(tmp_path, token):
    path = tmp_path / "vocab.txt"
    with pytest.raises(UserError, match=r"vocab\.txt: expected tokens that a line .*one_line"):
        Vocabulary((token, "b")).save(path)
    assert not path.exists()


@pytest.mark.parametrize("size", [2, 4])
def test_a_vocabulary_of_another_size_than_the_model_is_refused(tmp_path, size):
    Vocabulary(("a", "b", "c")).save(tmp_path / "vocab.txt")
    with pytest.raises(UserError, match=rf"vocab\.txt: expected {size} distinct tokens.*3 lines"):
        Vocabulary.load(tmp_path / "vocab.txt", size=size)


@pytest.mark.parametrize(
    "content", [b"", b"a\nb\na\n", b"no end of line", b"caf\xe9\n", b"a\n\n\n"]
)
def test_a_damaged_vocabulary_is_refused_by_name(tmp_path, content):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"vocab\.txt.*expected"):
        Vocabulary.load(path)


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(UserError, match=r"vocab\.txt, found none"):
        Vocabulary.load(tmp_path / "vocab.txt")
