"""The network cut in two for other runtimes: what is done once an image, and once a word."""

import keras
import tensorflow as tf

from apps.image_captioning.decoder import Decoder, Memory
from common.export.conversion import Part


def make_parts(encoder: keras.Model, decoder: Decoder, *, beam: int) -> dict[str, Part]:
    """Functions to convert.

    "encoder": image uint8 (batch, size, size, 3) -> the states before the first word, state_0 and
    so on, (batch, units), and what else the decoder knows of each image, by its own names.
    "step": token_ids int32 (beam,), the words before, states (beam, units) and what is known of one
    image -> log_probs (beam, vocab), attention (beam, regions), and next_state_0 and so on.
    """
    start = tf.function(decoder.start, autograph=False)
    every, first = start.get_concrete_function(
        tf.TensorSpec([None, *encoder.output.shape[1:]])
    ).structured_outputs
    of_image = {name: one for name, one in every.constants.items() if None in one.shape}

    def look(image):
        # Rounded as the features were that the decoder was trained on.
        grid = tf.cast(encoder(image, training=False), tf.float16)
        memory, states = decoder.start(grid)
        return _named(states) | {name: memory.constants[name] for name in of_image}

    def step(token_ids, **given):
        states = [given[name] for name in sorted(given) if name.startswith("state_")]
        # Of what it starts with, the weights are of use here; the converter drops the rest.
        of_weights, _ = decoder.start(tf.zeros([1, *encoder.output.shape[1:]]))
        known = {**of_weights.constants, **{name: given[name] for name in of_image}}
        log_probs, states, attention = decoder.step(
            token_ids, states, Memory(known, of_weights.kernels)
        )
        after = {f"next_{name}": state for name, state in _named(states).items()}
        return {"log_probs": log_probs, "attention": attention, **after}

    image = tf.TensorSpec([None, *encoder.input.shape[1:]], tf.uint8)
    given = {"token_ids": tf.TensorSpec([beam], tf.int32)}
    for name, one in _named(first).items():
        given[name] = tf.TensorSpec([beam, *one.shape[1:]], tf.float32)
    for name, one in of_image.items():
        given[name] = tf.TensorSpec([1, *one.shape[1:]], tf.float32)
    return {"encoder": Part(look, {"image": image}), "step": Part(step, given)}


def _named(states: list) -> dict:
    return {f"state_{number}": state for number, state in enumerate(states)}
