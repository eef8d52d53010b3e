"""Word pieces: any text comes back, TensorFlow and Python agree, pieces are those of the method."""

import re
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.inputs import subwords, text
from common.inputs.subwords import Subwords
from common.inputs.text import Vocabulary
from common.runs import files

TEXTS = [
    "the lower the lowest, the newer the newest!",
    "Die Haustür, bitte! Die Haustüren, bitte!",
    "電気を消してください 電気をつけて",
    "12 lights, 12 lamps and 7 (seven) doors",
] * 3


@pytest.fixture(scope="module")
def pieces() -> Vocabulary:
    return subwords.learn(TEXTS, num_pieces=400, extra=["<to_de>"])


@pytest.fixture(scope="module")
def encode(pieces):
    part = Subwords(pieces)
    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(
        lambda strings: part.encode(strings, max_pieces=500),
        autograph=False,
        input_signature=signature,
    )


def python_normalised(string: str) -> str:
    """The definition in words, in Python."""
    composed = unicodedata.normalize("NFC", string)
    spaced = "".join(
        " " if unicodedata.category(c)[0] == "Z" or unicodedata.category(c) == "Cc" or c == "\ufeff"
        else c
        for c in composed
    )  # fmt: skip
    return " ".join(part for part in spaced.split(" ") if part)


@settings(max_examples=60, deadline=None)
@given(strings=st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_any_text_comes_back(pieces, encode, strings):
    ids, mask = encode(tf.constant(strings))
    back = [line.decode() for line in Subwords(pieces).decode(ids).numpy()]
    assert back == [python_normalised(string) for string in strings]
    np.testing.assert_array_equal(mask, ids != text.PAD)
    assert text.UNK not in ids.numpy()


@settings(max_examples=40, deadline=None)
@given(strings=st.lists(st.text(alphabet="lowernst ü電気、を!12\u0308", max_size=30), min_size=1))
def test_python_without_tensorflow_writes_the_same_pieces(
    pieces, encode, standalone_pieces, strings
):
    ids, mask = encode(tf.constant(strings))
    rows = [row[real].tolist() for row, real in zip(ids.numpy(), mask.numpy(), strict=True)]
    other = standalone_pieces.Pieces(pieces.tokens)
    assert rows == [other.encode(string) for string in strings]
    assert [other.decode(row) for row in rows] == [python_normalised(s) for s in strings]


@pytest.fixture(scope="module")
def standalone_pieces():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend("common/export/standalone")
        import pieces

        return pieces


def test_the_first_merges_are_those_of_the_paper():
    """Sennrich et al. 2016, figure 1: low (5), lower (2), newest (6), widest (3)."""
    words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    lines = [word for word, count in words.items() for _ in range(count)]
    learned = subwords.learn(lines, num_pieces=10_000).tokens
    first = learned.index("es")
    # There "lo" and "low" follow: here a word's space is part of its first piece.
    assert learned[first : first + 5] == ("es", "est", " l", " lo", " low")


def test_pieces_are_as_good_as_those_of_sentencepiece(tmp_path, standalone_pieces):
    """Of equally frequent pairs it takes others first, so most pieces are the same, not all."""
    import sentencepiece

    names = files.read_json(files.package_folder("emoji", "") / "unicode_codes" / "emoji.json")
    lines = [re.sub("[^a-z]+", " ", entry["en"]).strip() for entry in names.values()]
    (tmp_path / "text").write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(tmp_path / "bpe"),
        model_type="bpe",
        vocab_size=400,
        character_coverage=1.0,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "bpe.model"))
    theirs = {model.id_to_piece(n).replace("▁", " ") for n in range(model.vocab_size())}
    theirs = {piece for piece in theirs if len(piece) > 1 and "<" not in piece}
    pieces = subwords.learn(lines, num_pieces=260 + 27 + len(theirs)).tokens
    assert len(pieces) - 260 - 27 == len(theirs) > 300
    ours = standalone_pieces.Pieces(pieces)
    used, used_there = (
        sum(len(encode(x)) for x in lines) for encode in (ours.encode, model.encode)
    )
    assert used < 1.02 * used_there


def test_letters_digits_and_marks_are_never_in_one_piece(pieces):
    for token in pieces.tokens[260:]:
        kinds = {unicodedata.category(c)[0] in "LM" for c in token.strip()}
        assert len(kinds) <= 1 or token == "<to_de>", token


def test_special_tokens_in_a_text_are_letters_like_others(pieces, encode):
    ids, _ = encode(tf.constant(["<pad> <to_de> <0x41>"]))
    special = {*range(text.END + 1), pieces.tokens.index("<to_de>")}
    assert not special & set(ids.numpy().ravel().tolist())
    assert Subwords(pieces).decode(ids).numpy()[0] == b"<pad> <to_de> <0x41>"


def test_padding_and_neighbours_change_nothing(encode):
    alone, _ = encode(tf.constant(["die Haustür"]))
    together, mask = encode(tf.constant(["die Haustür", "die Haustür, bitte! " * 9, ""]))
    np.testing.assert_array_equal(together[0][mask[0]], alone[0])
    assert not mask[2].numpy().any()


def test_a_text_is_cut_after_so_many_pieces(pieces, encode):
    part = Subwords(pieces)
    whole, _ = part.encode(tf.constant(TEXTS), max_pieces=500)
    cut, mask = part.encode(tf.constant(TEXTS), max_pieces=5)
    np.testing.assert_array_equal(cut, whole[:, :5])
    np.testing.assert_array_equal(mask, cut != text.PAD)


def test_broken_bytes_are_replaced_and_broken_characters_left_out(pieces, encode):
    ids, _ = encode(tf.constant([b"a\xffb"]))
    assert Subwords(pieces).decode(ids).numpy()[0].decode() == "a\ufffdb"
    half = subwords.FIRST_BYTE + 0xC3  # the first of two bytes
    assert Subwords(pieces).decode(tf.constant([[half, half + 0]])).numpy()[0] == b""


def test_frames_stand_around_the_real_pieces():
    ids = tf.constant([[7, 8, 9], [7, 0, 0], [0, 0, 0]])
    framed = subwords.framed(ids, ids != 0, tf.constant([4, 5, 6]))
    expected = [[4, 7, 8, 9, text.END], [5, 7, text.END, 0, 0], [6, text.END, 0, 0, 0]]
    np.testing.assert_array_equal(framed, expected)
