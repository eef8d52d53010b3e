"""Batches of questions with their candidates: words, keys, draws, order."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.answer_selection import config, data
from apps.answer_selection.ranking import tokenizer
from common.inputs import pipeline
from common.inputs.text import Vocabulary
from common.runs.errors import UserError

WORDS = Vocabulary.of_words({"tol": 3, "tolerance": 2, "num": 1})
OPTIONS = config.DataConfig(hash_buckets=7)


def encode(*texts, max_words=9):
    table = WORDS.make_table(unknown=-1)
    features = tokenizer.encode(tf.constant(texts), table, num_buckets=7, max_words=max_words)
    return {name: value.numpy() for name, value in features.items()}


def make_records(questions, *, right=1, candidates=5):
    """Questions whose first `right` candidates are right."""

    def record(number):
        return {
            "question_id": f"q{number}",
            "question": f"what is thing {number}?",
            "candidates": [f"text {place} of {number}" for place in range(candidates)],
            "labels": [int(place < right) for place in range(candidates)],
            "candidate_ids": [f"c{place}" for place in range(candidates)],
        }

    spec = {
        **dict.fromkeys(["question_id", "question"], tf.TensorSpec([], tf.string)),
        **dict.fromkeys(["candidates", "candidate_ids"], tf.TensorSpec([None], tf.string)),
        "labels": tf.TensorSpec([None], tf.int32),
    }
    return tf.data.Dataset.from_generator(
        lambda: map(record, range(questions)), output_signature=spec
    )


def test_parts_of_identifiers_are_words_and_all_numbers_are_one_word():
    words = tokenizer.words(tf.constant(["What is n_jobs (1,200.5 or <num>)?"]))[0].numpy()
    assert b" ".join(words) == b"what is n jobs num num num or num"


def test_keys_are_equal_where_words_stems_or_first_letters_are():
    keys = encode("tolerances tolerance tol train training cat")["keys"][0]
    exact, stem, letters = (keys[:, place] for place in range(3))
    assert len(set(exact)) == 6
    assert stem[0] == stem[1] != stem[2]
    assert stem[3] == stem[4] != stem[5]
    assert letters[0] == letters[1] == letters[2] != letters[3]


def test_words_beyond_the_limit_are_cut_and_unknown_ones_get_one_of_the_buckets():
    ids = encode("tol blorb blorb quux tol tol", max_words=4)["ids"][0]
    assert len(ids) == 4
    assert ids[0] == WORDS.tokens.index("tol")
    assert ids[1] == ids[2]
    assert all(len(WORDS) <= number < len(WORDS) + 7 for number in ids[1:])


def test_a_batch_gives_each_text_what_it_gets_alone_and_one_without_words_is_padding():
    texts = ("tol", "tolerance of the tol num", "?!", "")
    together = encode(*texts)
    assert not together["mask"][2:].any()
    for row, text in enumerate(texts):
        alone = encode(text)
        time = alone["ids"].shape[1]
        np.testing.assert_array_equal(together["keys"][row, :time], alone["keys"][0])
        assert not together["mask"][row, time:].any()


def draw(question, *, seed=1, epoch=0, most=3):
    return data.draw(question, seed=seed, epoch=tf.constant(epoch, tf.int64), most=most)


def test_a_draw_is_a_function_of_seed_and_epoch_and_each_candidate_is_in_some():
    [question] = data.make_examples(make_records(1, candidates=12), WORDS, OPTIONS)

    def names(**options):
        return draw(question, **options)["candidate_id"].numpy().tolist()

    assert names() == names() != names(epoch=1)
    assert names() != names(seed=2)
    assert len({name for epoch in range(30) for name in names(epoch=epoch)}) == 12


@pytest.mark.parametrize(
    ("right", "candidates", "most", "expected"),
    [(1, 40, 8, (1, 7)), (30, 40, 8, (4, 4)), (38, 40, 8, (6, 2)), (2, 5, 8, (2, 3))],
)
def test_a_draw_holds_right_and_wrong_candidates(right, candidates, most, expected):
    records = make_records(1, right=right, candidates=candidates)
    [question] = data.make_examples(records, WORDS, OPTIONS)
    sample = draw(question, most=most)
    labels = sample["label"].numpy().tolist()
    assert (sum(labels), len(labels) - sum(labels)) == expected
    rows = [int(name[1:]) for name in sample["candidate_id"].numpy()]
    assert len(set(rows)) == len(rows)
    for name in ("label", "candidate_ids", "candidate_keys", "candidate_mask"):
        np.testing.assert_array_equal(sample[name], question[name].numpy()[rows])


def test_labels_of_padding_are_minus_one():
    records = make_records(1, candidates=2).concatenate(make_records(1, candidates=3))
    examples = data.make_examples(records, WORDS, OPTIONS)
    [batch] = pipeline.evaluation_batches(examples, batch_size=2)
    inputs, label, weight = data.as_training(batch, inputs=["question_ids"])
    assert label.numpy().tolist() == [[1, 0, -1], [1, 0, 0]]
    assert list(inputs) == ["question_ids"] and weight.numpy().tolist() == [1, 1]


def test_rare_words_weigh_more_than_common_ones():
    statistics = data.read_statistics(make_records(20), OPTIONS)
    idf = dict(zip(statistics.words.tokens, statistics.idf, strict=False))
    assert idf["text"] == idf["of"] < 0.2  # in every candidate
    assert statistics.idf[-1] == 1.0  # a word that no training candidate has
    assert statistics.lengths == [4] * 20


def test_questions_whose_labels_are_all_equal_teach_nothing():
    records = make_records(3, right=0)
    with pytest.raises(UserError, match="all labels of each question are equal"):
        data.read_statistics(records, OPTIONS)


@given(st.text(), st.text())
@settings(max_examples=40, deadline=None)
def test_pieces_as_given_have_the_words_of_the_text(first, second):
    """Random Unicode, of which every word has the share 1, but the last, which is cut off."""
    text = f"{first} n_jobs: 442, {second} end"
    words = tokenizer.words(tf.constant([text]))[0].numpy()
    pieces = tokenizer.shares_as_given(text, np.ones(len(words) - 1))
    assert [piece for piece, _ in pieces] == text.split()
    assert dict(pieces)["n_jobs:"] >= 2 and pieces[-1] == ("end", 0)
    assert sum(share for _, share in pieces) == len(words) - 1


def test_words_of_no_training_text_join_the_vocabulary_as_rare_ones():
    more = ["tolerance", "text", "<unk>", "n/a", "1990", "isn't", "tolerance"]
    plain = data.read_statistics(make_records(20), OPTIONS)
    statistics = data.read_statistics(make_records(20), OPTIONS, more_words=more)
    assert statistics.words.tokens == (*plain.words.tokens, "tolerance", "isn't")
    np.testing.assert_array_equal(statistics.idf[: len(plain.words)], plain.idf[: len(plain.words)])
    assert (statistics.idf[len(plain.words) :] == 1).all()


def test_two_epochs_have_the_same_questions_in_another_order(cache_dir):
    options = dataclasses.replace(config.TINY.data, cache_dir=cache_dir, max_questions=64)
    train_data = data.make_training_data(options, batch_size=8, candidates_per_question=4)

    def ids(first_epoch, count):
        batches = train_data.batches(seed=1, first_epoch=first_epoch).take(count)
        return [name for batch in batches for name in batch["question_id"].numpy().tolist()]

    both = ids(0, 2 * train_data.num_batches)
    first, second = both[:64], both[64:]
    assert sorted(first) == sorted(second) and first != second
    assert len(set(first)) == 64
    assert ids(1, train_data.num_batches) == second  # a resumed run sees what the whole one saw
