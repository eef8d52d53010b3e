"""Facts about the Python file of an export: it reads words as the graph does."""

import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection import combination, features
from apps.answer_selection.combination import Combination, Moments, Trees

FOLDER = "apps/answer_selection"


def test_hashes_of_all_lengths_are_those_of_tensorflow(standalone):
    farmhash, draw = standalone(f"{FOLDER}/fingerprint.py"), np.random.default_rng(0)
    strings = [draw.integers(0, 256, size).astype(np.uint8).tobytes() for size in range(200)]
    buckets = 2**62 + 57
    wanted = tf.strings.to_hash_bucket_fast(strings, buckets).numpy()
    assert [farmhash.fingerprint64(one) % buckets for one in strings] == wanted.tolist()


@pytest.fixture
def runtime(standalone):
    """One without a network."""
    module = standalone(f"{FOLDER}/runtime.py")
    found = module.Runtime.__new__(module.Runtime)
    found.settings = {"num_buckets": 16, "max_words": {"candidate": 6}}
    found.ids = {"the": 0, "num": 1, "größe": 2}
    return found


def test_ids_are_those_of_the_graph_and_keys_are_equal_where_those_are(runtime):
    strings = ["The Größe of n_jobs, 12 of 3", "jobs' SIZE: sized iterations", "iteration"]
    keys = tf.constant(list(runtime.ids)), tf.constant(list(runtime.ids.values()))
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(keys[0], keys[1]), default_value=-1
    )
    wanted = features.encode(tf.constant(strings), table, num_buckets=16, max_words=6)
    found = runtime.encode(strings, "candidate", {})
    np.testing.assert_array_equal(found["candidate_ids"], wanted["ids"])
    np.testing.assert_array_equal(found["candidate_mask"], wanted["mask"])
    for own, other in zip(
        *(np.asarray(k).reshape(-1, 3).T for k in (found["candidate_keys"], wanted["keys"])),
        strict=True,
    ):
        np.testing.assert_array_equal(own[:, None] == own, other[:, None] == other)


def test_a_text_without_a_word_is_named(runtime):
    with pytest.raises(ValueError, match="candidate: expected at least one word"):
        runtime.encode(["..."], "candidate", {})


def test_the_combination_is_that_of_the_graph(standalone):
    trees = Trees(
        intercept=0.5,
        coefficients=(1.0, -2.0),
        depth=2,
        root=(0, 3),
        signal=(0, 0, 0, 1, 0, 0, 0, 0),
        threshold=(0.1, 0, 0, 0.5, -0.3, 0, 0, 0),
        left=(1, 1, 2, 4, 6, 5, 6, 7),
        right=(2, 1, 2, 5, 7, 5, 6, 7),
        value=(0, 0.25, -0.5, 0, 0, 1.5, 2.0, -1.0),
    )
    combined = Combination(Moments(0.2, 1.5), trees)
    draw = np.random.default_rng(0)
    score, overlap = draw.normal(size=9).astype("f"), draw.normal(size=(9, 1)).astype("f")
    module = standalone(f"{FOLDER}/runtime.py")
    found = module.combine(combination.to_json(combined), score, overlap)
    wanted = combination.combine(combined, tf.constant(score), tf.constant(overlap))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
