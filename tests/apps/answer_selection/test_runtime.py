"""Facts about the Python file of an export: it reads words as the graph does."""

import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection.ranking import tokenizer
from common.inputs.text import Vocabulary

FOLDER = "apps/answer_selection"


@pytest.fixture
def module(standalone):
    standalone(f"{FOLDER}/ranking/agreement.py")  # it stands beside runtime.py in an export
    return standalone(f"{FOLDER}/runtime.py")


def test_hashes_of_all_lengths_are_those_of_tensorflow(module):
    draw, buckets = np.random.default_rng(0), 2**62 + 57
    strings = [draw.integers(0, 256, size, np.uint8).tobytes() for size in range(33)]
    expected = tf.strings.to_hash_bucket_fast(strings, buckets).numpy()
    assert [module.fingerprint64(text) % buckets for text in strings] == expected.tolist()


@pytest.fixture
def runtime(module):
    """One without a network."""
    empty = module.Runtime.__new__(module.Runtime)
    empty.settings = {"num_buckets": 16, "max_words": {"candidate": 6}}
    empty.ids = {"the": 0, "num": 1, "größe": 2}
    return empty


def test_ids_are_those_of_the_graph_and_keys_are_equal_where_those_are(runtime):
    texts = ("The Größe of n_jobs, 12 of 3", "jobs' SIZE: sized iterations", "iteration")
    strings = [*texts, "é" * 50]
    table = Vocabulary(tuple(runtime.ids)).make_table(unknown=-1)
    expected = tokenizer.encode(tf.constant(strings), table, num_buckets=16, max_words=6)
    encoded = runtime.encode(strings, "candidate", {})
    np.testing.assert_array_equal(encoded["candidate_ids"], expected["ids"])
    np.testing.assert_array_equal(encoded["candidate_mask"], expected["mask"])
    for own, other in zip(
        *(np.asarray(k).reshape(-1, 3).T for k in (encoded["candidate_keys"], expected["keys"])),
        strict=True,
    ):
        np.testing.assert_array_equal(own[:, None] == own, other[:, None] == other)


def test_a_text_without_a_word_is_named(runtime):
    with pytest.raises(ValueError, match="candidate: expected at least one word"):
        runtime.encode(["..."], "candidate", {})
