"""Examples to batches with tf.data: read -> cache -> shuffle -> bucket and pad -> prefetch.

The order of an epoch is a function of (seed, epoch) alone, so that a resumed run sees what the
uninterrupted one would have seen. Memory is bounded by the shuffle buffer, not by the data set.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

Example = dict[str, tf.Tensor]
Examples = tf.data.Dataset | Callable[[tf.Tensor], tf.data.Dataset]
Length = Callable[[Example], tf.Tensor]
Change = Callable[[Example, tf.Tensor], Example]


_SEED = "seed of change"  # a name that no example has


class Service(Protocol):
    """Makes batches in other processes (`scaling.service_batches`)."""

    def map(self, parts: tf.data.Dataset, make: Callable) -> tf.data.Dataset:
        """What `make` makes of each of `parts`, in their order."""
        ...


class Buckets(NamedTuple):
    """How many examples go into one batch, by length: `batch_sizes[i]` up to `boundaries[i]`."""

    boundaries: tuple[int, ...]  # inclusive upper lengths, rising; the last batch size has none
    batch_sizes: tuple[int, ...]  # one more than boundaries


def equal_batches(boundaries: Sequence[int], *, batch_size: int) -> Buckets:
    """The same number of examples in each batch, of like length."""
    return Buckets(tuple(boundaries), (batch_size,) * (len(boundaries) + 1))


def token_budget(boundaries: Sequence[int], *, tokens: int, longest: int) -> Buckets:
    """As many examples as fit into `tokens` cells of a padded batch, at least one.

    `longest` is the length at which longer examples were cut.
    """
    limits = (*boundaries, longest)
    return Buckets(tuple(boundaries), tuple(max(tokens // limit, 1) for limit in limits))


def training_batches(
    examples: Examples,
    *,
    buckets: Buckets,
    length: Length,
    seed: int,
    first_epoch: int = 0,
    shuffle_buffer: int = 2048,
    change: Change | None = None,
    service: Service | None = None,
) -> tf.data.Dataset:
    """Endless padded batches, epoch after epoch, each example once an epoch.

    Every epoch has `num_batches(lengths, buckets)` batches whatever its order: each bucket is
    emptied at the end of an epoch. `fit` needs that number as `steps_per_epoch`.

    Args:
        examples: a finite data set of dicts of tensors, in a fixed order, cached or streamed; or a
            function that gives that of an epoch, int64 ().
        buckets: from `equal_batches` or `token_budget`.
        length: the length of an example, int, by which it is put into a bucket.
        seed: together with the epoch it decides the order.
        first_epoch: where to begin, for a resumed run.
        shuffle_buffer: examples held for shuffling; the whole epoch when it is smaller.
        change: makes of an example what this epoch has of it, by an int64 (2,) seed that is a
            function of (seed, epoch, place among the examples). It must leave what `length` reads.
        service: makes the same batches in other processes. All of them read all `examples`; each
            changes and pads those of its own batches alone, so `change` is where the work belongs.
    """

    def shuffled(epoch: tf.Tensor) -> tf.data.Dataset:
        # A seed computed from the epoch: `shuffle` counts its iterations when left to itself, and
        # would begin at the first order again after a resume.
        # Of this traced function alone: `shuffle` mixes it in, and cannot take a zero.
        tf.random.set_seed(1)
        order = tf.random.stateless_uniform([], [seed, epoch], maxval=tf.int64.max, dtype=tf.int64)
        dataset: tf.data.Dataset = examples(epoch) if callable(examples) else examples
        if change is not None:
            dataset = dataset.enumerate().map(
                lambda place, example: {**example, _SEED: tf.stack([order, place])}
            )
        return dataset.shuffle(shuffle_buffer, seed=order, reshuffle_each_iteration=False)

    def changed(dataset: tf.data.Dataset, change: Change | None = change) -> tf.data.Dataset:
        if change is None:
            return dataset
        return dataset.map(
            lambda example: change(
                {name: value for name, value in example.items() if name != _SEED}, example[_SEED]
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def batch(group: tf.data.Dataset) -> tf.data.Dataset:
        return group.padded_batch(max(buckets.batch_sizes))

    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        return bucketed(changed(shuffled(epoch)), buckets=buckets, length=length, reduce=batch)

    def groups_of(epoch: tf.Tensor) -> tf.data.Dataset:
        reduce = tf.data.Dataset.from_tensors
        return bucketed(shuffled(epoch), buckets=buckets, length=length, reduce=reduce)

    def batch_of(group: tf.data.Dataset) -> Example:
        return batch(changed(group)).get_single_element()

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    if service is not None:
        return service.map(epochs.flat_map(groups_of), batch_of)
    return _untuned(epochs.flat_map(batches_of).prefetch(tf.data.AUTOTUNE))


def evaluation_batches(
    examples: tf.data.Dataset, *, batch_size: int, num_examples: int | None = None
) -> tf.data.Dataset:
    """One pass of padded batches in the order of `examples`.

    With `num_examples`, `fit` knows the number of batches from the start.
    """
    batches = examples.padded_batch(batch_size)
    if num_examples is not None:
        batches = batches.apply(
            tf.data.experimental.assert_cardinality(-(-num_examples // batch_size))
        )
    return _untuned(batches.prefetch(tf.data.AUTOTUNE))


def _untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same without the thread that tunes the pipeline.

    TensorFlow 2.21: where a parallel map stands below a flat map or `unbatch`, who drops an
    iterator waits until that thread wakes, for up to as long as the iterator has been there.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def bucketed(
    examples: tf.data.Dataset, *, buckets: Buckets, length: Length, reduce: Callable
) -> tf.data.Dataset:
    """What `reduce` makes of each group of examples of like length; the last ones are smaller."""

    def bucket(example: Example) -> tf.Tensor:
        boundaries = tf.constant(buckets.boundaries, tf.int64, [len(buckets.boundaries)])
        return tf.searchsorted(
            boundaries, tf.cast(length(example), tf.int64)[None], out_type="int64"
        )[0]

    return examples.group_by_window(
        bucket,
        lambda _, group: reduce(group),
        window_size_func=lambda key: tf.gather(tf.constant(buckets.batch_sizes, tf.int64), key),
    )


def num_batches(lengths: Iterable[int], buckets: Buckets) -> int:
    """The number of batches in an epoch over examples of these lengths."""
    filled = np.zeros(len(buckets.batch_sizes), dtype=np.int64)
    for length in lengths:
        filled[np.searchsorted(buckets.boundaries, length)] += 1
    return int(np.sum(-(-filled // np.asarray(buckets.batch_sizes))))


def chunks(items: Any, size: int) -> Iterator[Any]:
    """Cuts a sequence or array into parts of `size`, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
