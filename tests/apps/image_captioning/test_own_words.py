"""Scheduled sampling and rewards: what is drawn, when, and the gradient that it gives."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from apps.image_captioning import data, own_words, scoring
from apps.image_captioning.config import TrainConfig
from apps.image_captioning.writer import Writer
from common.decoding import sampling
from common.inputs import text
from common.inputs.text import Vocabulary
from common.runs.errors import UserError
from common.training import losses

from .test_decoders import CAPTIONS, GRID, IMAGES, MASK, TIME, TOKEN_IDS, make

WORDS = Vocabulary((*text.SPECIALS, "a", "red", "cat", "on", "two", "mats", "now"))
PEOPLE = np.array([[b"a red cat on two mats", b"a cat"], [b"two mats now", b""]])
KNOWN = [["a red cat on two mats", "a cat"], ["two mats now"], ["red now"]]


@pytest.fixture(scope="module")
def decoder():
    return make("soft_attention")


def rewarded(decoder, samples=3):
    writer = Writer(decoder, WORDS, max_words=4, length_penalty=0.0)
    batches = tf.data.Dataset.from_tensors({"grid": GRID, "captions": PEOPLE}).repeat()
    return own_words.with_rewards(
        batches, writer, lambda batch: batch["grid"], KNOWN, samples=samples, first=0, seed=1
    )


def sure(decoder):
    """Makes the decoder sure of its next word."""
    kernel = decoder.embed.reverse_embeddings
    before = kernel.numpy()
    kernel.assign(1000 * before)
    return lambda: kernel.assign(before)


def test_without_own_words_the_words_stay(decoder):
    mixed = own_words.mix(decoder, GRID, tf.constant(TOKEN_IDS), share=0.0, seed=[1, 2])
    np.testing.assert_array_equal(mixed, TOKEN_IDS)


def test_with_own_words_alone_each_is_what_the_network_says_after_its_own(decoder):
    undo = sure(decoder)
    mixed = own_words.mix(decoder, GRID, tf.constant(TOKEN_IDS), share=1.0, seed=[1, 2])
    memory, states = decoder.start(GRID)
    states, _ = sampling.tile(states, CAPTIONS)
    said = TOKEN_IDS[..., 0].ravel()
    for t in range(TIME):
        np.testing.assert_array_equal(tf.reshape(mixed[..., t], [-1]), said)
        log_probs, states, _ = decoder.step(said, states, memory)
        said = np.argmax(log_probs, axis=-1).astype("int32")
    undo()


def test_the_share_of_own_words_rises_to_that_of_the_last_batch(decoder):
    ids = tf.constant(np.full((IMAGES, 50, 20), 2, "int32"))
    batches = tf.data.Dataset.from_tensors({"grid": GRID, "token_ids": ids}).repeat()
    kernel = decoder.embed.reverse_embeddings
    before = kernel.numpy()
    kernel.assign(np.zeros_like(before))  # all words alike
    options = {"share": 0.8, "num_batches": 4, "seed": 1}
    changed = own_words.with_own_words(
        batches, decoder, lambda batch: batch["grid"], first=2, **options
    )
    shares = [np.mean(batch["read_ids"][..., 1:] != 2) for batch in changed.take(3)]
    kernel.assign(before)
    others = 1 - 1 / len(WORDS)  # the network's word is another one
    np.testing.assert_allclose(shares, np.array([0.4, 0.6, 0.8]) * others, atol=0.04)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"scheduled_sampling": 0.2, "coverage": 0.0}, "scheduled"), ({"coverage": 0.1}, "coverage")],
)
def test_what_several_devices_cannot_do_is_named(options, named):
    class Two:
        num_replicas_in_sync = 2

    own_words.check(TrainConfig(coverage=0.0), Two())
    with pytest.raises(UserError, match=rf"train\.{named}.*--train\.strategy none"):
        own_words.check(TrainConfig(**options), Two())


def test_own_words_are_read_and_those_of_people_stay_the_target():
    batch = {"token_ids": TOKEN_IDS, "token_mask": MASK, "read_ids": TOKEN_IDS + 1}
    inputs, target = data.as_training(batch, inputs=["token_ids"])
    np.testing.assert_array_equal(inputs["token_ids"], TOKEN_IDS[..., :-1] + 1)
    np.testing.assert_array_equal(target, np.where(MASK, TOKEN_IDS, -1)[..., 1:])


def test_the_gradient_of_rewards_is_that_of_the_paper(decoder):
    batch = next(iter(rewarded(decoder, samples=2)))
    inputs, target, weight = data.as_training(batch, inputs=["grid", "token_ids", "token_mask"])
    weights = [one.value for one in decoder.trainable_weights]
    with tf.GradientTape() as tape:
        logits = decoder(inputs["grid"], inputs["token_ids"], inputs["token_mask"])
        loss = losses.StepsCrossEntropy()(target, logits, sample_weight=weight)
    ours = tape.gradient(loss, weights)

    cider = scoring.Cider([[one + " <end>" for one in several] for several in KNOWN])
    writer = Writer(decoder, WORDS, max_words=4, length_penalty=0.0)
    greedy = writer.as_text(writer.write(GRID, beam=1).token_ids[:, 0]).numpy()
    with tf.GradientTape() as tape:
        total, num_steps = 0.0, 0
        for image, people in enumerate(PEOPLE):
            references = [one.decode() + " <end>" for one in people if one]
            memory, first = decoder.start(GRID[image : image + 1])
            for ids in batch["token_ids"][image].numpy():
                words = [WORDS.tokens[token] for token in ids if token > text.END]
                states, log_prob = first, 0.0
                for before, after in itertools.pairwise(ids):
                    if before != text.END and after != text.PAD:
                        log_probs, states, _ = decoder.step(np.array([before]), states, memory)
                        log_prob, num_steps = log_prob + log_probs[0, after], num_steps + 1
                reward = cider.score(" ".join([*words, "<end>"]), references)
                baseline = cider.score(greedy[image].decode() + " <end>", references)
                total -= (reward - baseline) * log_prob
        loss = total / num_steps
    for one, other in zip(ours, tape.gradient(loss, weights), strict=True):
        dense, wanted = tf.convert_to_tensor(one), tf.convert_to_tensor(other)
        np.testing.assert_allclose(dense, wanted, rtol=1e-3, atol=1e-5)
    assert np.abs(weight).max() > 0


def test_a_caption_that_breaks_off_earns_less():
    advantage = own_words.Advantage(KNOWN)
    drawn = np.array([[b"two mats now", b"two mats", b"two mats now now"]])
    found = advantage(drawn, np.array([b"two mats now"]), PEOPLE[1:])[0]
    assert found[0] == 0 and found[1] < 0 and found[2] < 0


def test_captions_are_drawn_with_the_weights_of_that_moment(decoder):
    batches = iter(rewarded(decoder))
    first = next(batches)["token_ids"]
    undo = sure(decoder)
    batch = next(batches)
    undo()
    assert len({tuple(one) for one in first[0].numpy()}) > 1
    assert len({tuple(one) for one in batch["token_ids"][0].numpy()}) == 1
    np.testing.assert_allclose(batch["reward"], 0.0)  # all are the greedy one
