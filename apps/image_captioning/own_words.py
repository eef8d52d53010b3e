"""Training on what the network itself writes: scheduled sampling, and rewards for whole captions.

Both change the batches of data.py on their way to `fit`. They write with the weights of that
moment: nothing is computed ahead of the step that needs it. What is drawn is a function of the
seed and of the number of the batch, as an interrupted run needs it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from apps.image_captioning import scoring
from apps.image_captioning.config import TrainConfig
from apps.image_captioning.decoder import Decoder
from apps.image_captioning.writer import Writer
from common.decoding import sampling
from common.inputs import text
from common.runs.errors import UserError
from common.training import strategies

_END = " " + text.SPECIALS[text.END]  # counts as a word: else captions that break off are rewarded


def check(options: TrainConfig, strategy: tf.distribute.Strategy) -> None:
    """Raises UserError for what several devices cannot do."""
    devices = strategy.num_replicas_in_sync
    if devices > 1 and (options.scheduled_sampling or options.self_critical_epochs):
        # A batch is written before it is shared among them.
        raise UserError(
            f"expected one device for train.scheduled_sampling and train.self_critical_epochs, got "
            f"{devices}: give --train.strategy none, or leave them out"
        )
    if devices > 1 and options.coverage and not strategies.is_multi_worker(strategy):
        # Devices of one process share the list to which Keras' `add_loss` adds.
        raise UserError(
            f"expected train.coverage 0 on several devices of one machine, got {options.coverage} "
            f"on {devices}: give --train.coverage 0, or --train.strategy none"
        )


def with_own_words(
    batches: tf.data.Dataset,
    decoder: Decoder,
    grid_of: Callable[[dict], tf.Tensor],
    *,
    share: float,
    num_batches: int,
    first: int,
    seed: int,
) -> tf.data.Dataset:
    """Batches with "read_ids": "token_ids", some words replaced by what the network says there.

    Scheduled sampling, Bengio et al. 2015, https://arxiv.org/abs/1506.03099, with a linear decay:
    the share of its own words rises from 0 to `share` over `num_batches`.

    Args:
        batches: endless, of data.py.
        decoder, grid_of: of the network in training.
        share: at the last batch, 0 to 1.
        num_batches: of the whole training.
        first: how many of them are over.
        seed: of the run.
    """

    def change(number: tf.Tensor, batch: dict) -> dict:
        now = share * tf.cast(number, tf.float32) / num_batches
        read = mix(decoder, grid_of(batch), batch["token_ids"], share=now, seed=[seed, number])
        return {**batch, "read_ids": read}

    return _in_step(batches.enumerate(first).map(change))


def mix(decoder: Decoder, grid: tf.Tensor, token_ids: tf.Tensor, *, share, seed) -> tf.Tensor:
    """Replaces each word by one that the network draws there, with the probability `share`.

    What it draws depends on the words before, replaced ones among them; no gradient passes.
    Token_ids int32 (batch, captions, time), the first of which is the start and stays.
    """
    shape = tf.shape(token_ids)
    captions, time = shape[1], shape[2]
    memory, states = decoder.start(grid)
    states, rows = sampling.tile(states, captions)
    given = tf.transpose(tf.reshape(token_ids, [rows, time]))
    coins = tf.random.stateless_uniform([time, rows], seed) < share

    def body(t, said, states, kept):
        now = tf.where(coins[t] & (t > 0), said, given[t])
        log_probs, states, _ = decoder.step(now, states, memory)
        drawing = tf.random.experimental.stateless_fold_in(seed, t)
        said = tf.random.stateless_categorical(log_probs, 1, drawing, dtype=tf.int32)[:, 0]
        return t + 1, said, states, kept.write(t, now)

    _, _, _, kept = tf.while_loop(
        lambda t, *_: t < time, body, (0, given[0], states, tf.TensorArray(tf.int32, time))
    )
    return tf.reshape(tf.transpose(kept.stack()), shape)


def with_rewards(
    batches: tf.data.Dataset,
    writer: Writer,
    grid_of: Callable[[dict], tf.Tensor],
    captions: Sequence[Sequence[str]],
    *,
    samples: int,
    first: int,
    seed: int,
) -> tf.data.Dataset:
    """Batches of captions that the network draws, with "reward" (batch, captions).

    Self-critical sequence training, Rennie et al. 2017, https://arxiv.org/abs/1612.00563. A
    cross-entropy with these weights has the gradient

        -(CIDEr-D(drawn) - CIDEr-D(greedy)) * sum over steps of d log p(word)

    divided by the number of steps of the batch. The end counts as a word in CIDEr-D.

    Args:
        batches: endless, of data.py.
        writer, grid_of: of the network in training.
        captions: all of each training image, for the document frequencies.
        samples: captions drawn of each image.
        first: number of the first batch.
        seed: of the run.
    """
    advantage = Advantage(captions)

    def change(number: tf.Tensor, batch: dict) -> dict:
        grid = grid_of(batch)
        drawn = writer.draw(grid, count=samples, seed=[seed, number])
        greedy = writer.as_text(writer.write(grid, beam=1).token_ids[:, 0])
        said = writer.as_text(drawn.token_ids)
        reward = tf.numpy_function(
            advantage, [said, greedy, batch["captions"]], tf.float32, stateful=False
        )
        start = tf.fill([tf.shape(grid)[0], samples, 1], text.START)
        return {
            **batch,
            "token_ids": tf.concat([start, drawn.token_ids], axis=2),
            "token_mask": tf.sequence_mask(drawn.lengths + 1),
            "reward": tf.ensure_shape(reward, [None, samples]),
        }

    return _in_step(batches.enumerate(first).map(change))


class Advantage:
    """By how much the CIDEr-D of drawn captions is above that of the greedy one.

    Args:
        captions: all of each training image.
    """

    def __init__(self, captions: Sequence[Sequence[str]]):
        self.cider = scoring.Cider([[one + _END for one in several] for several in captions])

    def __call__(self, drawn: np.ndarray, greedy: np.ndarray, people: np.ndarray) -> np.ndarray:
        """Bytes (batch, samples), (batch,), (batch, references) -> float32 (batch, samples)."""
        found = []
        for row, said, references in zip(drawn, greedy, people, strict=True):
            known = [one.decode() + _END for one in references if one]
            scores = [self.cider.score(one.decode() + _END, known) for one in (said, *row)]
            found.append(np.subtract(scores[1:], scores[0]))
        return np.array(found, np.float32)


def _in_step(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Keeps tf.data from computing ahead."""
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    options.experimental_optimization.map_parallelization = False
    return batches.with_options(options)
