"""Facts about the order, the batches and the padding of training data."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.inputs import pipeline
from common.inputs.pipeline import equal_batches, num_batches, token_budget, training_batches

LENGTHS = [3, 1, 7, 2, 12, 5, 5, 9, 1, 4, 30, 6, 2, 8, 3, 3, 11, 20, 1, 10]
BUCKETS = equal_batches([4, 8], batch_size=3)


def length(example):
    return tf.shape(example["token_ids"])[0]


def examples(lengths, *, reads: list | None = None, endless: bool = False) -> tf.data.Dataset:
    """Example i holds `lengths[i]` times the number i + 1, and a mask."""

    def generate():
        numbers = itertools.count() if endless else range(len(lengths))
        for i in numbers:
            if reads is not None:
                reads.append(i)
            steps = lengths[i % len(lengths)]
            yield {"token_ids": np.full(steps, i + 1, "int32"), "token_mask": np.full(steps, True)}

    signature = {
        "token_ids": tf.TensorSpec([None], tf.int32),
        "token_mask": tf.TensorSpec([None], tf.bool),
    }
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


@pytest.fixture(autouse=True)
def global_seed():
    tf.random.set_seed(1)  # a test may change it


@pytest.fixture(scope="module")
def data() -> tf.data.Dataset:
    return examples(LENGTHS).cache()


def take_epochs(data, num_epochs, *, seed=1, first_epoch=0, shuffle_buffer=2048, buckets=BUCKETS):
    """The batches of whole epochs, as lists of example numbers."""
    batches = training_batches(
        data,
        buckets=buckets,
        length=length,
        seed=seed,
        first_epoch=first_epoch,
        shuffle_buffer=shuffle_buffer,
    )
    steps = num_batches(LENGTHS, buckets)
    wanted = batches.take(num_epochs * steps)
    numbers = [batch["token_ids"][:, 0].numpy().tolist() for batch in wanted]
    return [numbers[start : start + steps] for start in range(0, len(numbers), steps)]


def everyone() -> list[int]:
    return list(range(1, len(LENGTHS) + 1))


# Order


@pytest.mark.parametrize("shuffle_buffer", [1, 4, 2048])
def test_every_epoch_has_each_example_once(data, shuffle_buffer):
    for epoch in take_epochs(data, 3, shuffle_buffer=shuffle_buffer):
        assert sorted(itertools.chain(*epoch)) == everyone()


def test_the_same_seed_and_epoch_give_the_same_order(data):
    assert take_epochs(data, 2) == take_epochs(data, 2)


def test_each_epoch_has_its_own_order(data):
    first, second, third = take_epochs(data, 3)
    assert first != second != third != first


def test_each_seed_has_its_own_order(data):
    assert take_epochs(data, 1, seed=1) != take_epochs(data, 1, seed=2)


@pytest.mark.parametrize("shuffle_buffer", [4, 2048])
def test_a_resumed_run_sees_the_batches_of_the_uninterrupted_one(data, shuffle_buffer):
    whole = take_epochs(data, 4, shuffle_buffer=shuffle_buffer)
    rest = take_epochs(data, 2, first_epoch=2, shuffle_buffer=shuffle_buffer)
    assert rest == whole[2:]


def test_cached_and_streamed_examples_come_in_the_same_order(data):
    assert take_epochs(examples(LENGTHS), 2) == take_epochs(data, 2)


def test_the_order_does_not_depend_on_what_was_drawn_before(data):
    tf.random.set_seed(5)
    tf.random.uniform([3])
    first = take_epochs(data, 1)
    tf.random.set_seed(6)
    assert take_epochs(data, 1) == first


def test_a_global_seed_of_zero_is_as_good_as_any(data):
    tf.random.set_seed(0)  # as `--train.seed 0` does
    assert sorted(itertools.chain(*take_epochs(data, 1)[0])) == everyone()


def test_iterating_twice_begins_at_the_first_epoch_again(data):
    batches = training_batches(data, buckets=BUCKETS, length=length, seed=1).take(5)
    twice = [[b["token_ids"].numpy().tolist() for b in batches] for _ in range(2)]
    assert twice[0] == twice[1]


# Batches


def batched(lengths: tf.data.Dataset, buckets) -> tf.data.Dataset:
    return pipeline.bucketed(
        lengths, buckets=buckets, length=lambda example: example, reduce=lambda rows: rows.batch(99)
    )


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=30),
    st.sets(st.integers(1, 18), max_size=3),
    st.integers(1, 5),
)
def test_the_number_of_batches_is_known_beforehand(lengths, boundaries, batch_size):
    buckets = equal_batches(sorted(boundaries), batch_size=batch_size)
    source = tf.data.Dataset.from_tensor_slices(lengths)
    batches = batched(source, buckets)
    assert num_batches(lengths, buckets) == sum(1 for _ in batches)


def test_by_hand_seven_short_and_one_long_example_make_four_batches():
    assert num_batches([4, 1, 1, 4, 2, 3, 4, 5], equal_batches([4], batch_size=3)) == 4


def test_no_examples_make_no_batches():
    assert num_batches([], BUCKETS) == 0


def test_no_batch_mixes_buckets(data):
    for batch in itertools.chain(*take_epochs(data, 2)):
        lengths = [LENGTHS[number - 1] for number in batch]
        assert len({(one > 4) + (one > 8) for one in lengths}) == 1


def test_a_length_equal_to_a_boundary_belongs_below_it():
    source = tf.data.Dataset.from_tensor_slices([4, 5])
    buckets = equal_batches([4], batch_size=2)
    batches = batched(source, buckets)
    assert sorted(batch.numpy().tolist() for batch in batches) == [[4], [5]]


def test_a_token_budget_is_never_exceeded_but_by_a_single_example(data):
    buckets = token_budget([4, 8], tokens=16, longest=30)
    batches = training_batches(data, buckets=buckets, length=length, seed=1)
    shapes = [batch["token_ids"].shape for batch in batches.take(num_batches(LENGTHS, buckets))]
    assert [shape for shape in shapes if shape[0] * shape[1] > 16 and shape[0] > 1] == []


def test_a_token_budget_by_hand():
    buckets = token_budget([4, 8], tokens=16, longest=30)
    assert buckets == ((4, 8), (4, 2, 1))


def test_the_values_of_a_row_are_its_own_and_the_rest_is_padding(data):
    batches = training_batches(data, buckets=BUCKETS, length=length, seed=1)
    for batch in batches.take(num_batches(LENGTHS, BUCKETS)):
        for ids, mask in zip(batch["token_ids"].numpy(), batch["token_mask"].numpy(), strict=True):
            steps = LENGTHS[ids[0] - 1]
            assert ids.tolist() == [ids[0]] * steps + [0] * (len(ids) - steps)
            assert mask.tolist() == [True] * steps + [False] * (len(ids) - steps)


def test_evaluation_keeps_the_order_and_the_last_short_batch(data):
    batches = pipeline.evaluation_batches(data, batch_size=6)
    numbers = [batch["token_ids"][:, 0].numpy().tolist() for batch in batches]
    assert list(itertools.chain(*numbers)) == everyone()
    assert [len(batch) for batch in numbers] == [6, 6, 6, 2]


@pytest.mark.parametrize(("batch_size", "num"), [(6, 4), (5, 4), (20, 1), (50, 1)])
def test_with_the_number_of_examples_the_number_of_batches_is_known(data, batch_size, num):
    batches = pipeline.evaluation_batches(data, batch_size=batch_size, num_examples=len(LENGTHS))
    assert int(batches.cardinality()) == sum(1 for _ in batches) == num


def test_a_source_without_end_is_read_no_further_than_the_buffers():
    reads = []
    source = examples([2], reads=reads, endless=True)
    batches = training_batches(
        source, buckets=equal_batches([4], batch_size=2), length=length, seed=1, shuffle_buffer=50
    )
    assert sum(1 for _ in batches.take(5)) == 5
    assert 50 <= len(reads) < 50 + 5 * 2 + 100


# Helpers


@given(st.lists(st.integers(), max_size=20), st.integers(1, 6))
def test_chunks_joined_are_the_whole(items, size):
    parts = list(pipeline.chunks(items, size))
    assert list(itertools.chain(*parts)) == items
    assert all(len(part) == size for part in parts[:-1])
