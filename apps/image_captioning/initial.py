"""Weights to begin from: those of another run, e.g. to train its CNN's last layers along."""

import logging
from pathlib import Path

import keras
import numpy as np

from apps.image_captioning import decoders  # noqa: F401, Keras finds its layers there
from apps.image_captioning.config import APP
from apps.image_captioning.decoder import Decoder
from common.inputs.text import Vocabulary
from common.runs.directory import RunDirectory
from common.training import checkpoints

logger = logging.getLogger("cellstate")


def copy_weights(run_dir: Path, encoder: keras.Model, decoder: Decoder, words: Vocabulary) -> None:
    """Copies a run's CNN and decoder into new ones; word vectors go by the words.

    The vectors of words that the run does not know keep their own first values.

    Args:
        run_dir: of this app, with the same layers; either run may have kept its CNN frozen.
        encoder: of the new network.
        decoder: of the new network.
        words: its vocabulary.

    Raises:
        UserError: no run of this app, or its layers have other shapes.
    """
    run = RunDirectory.open(run_dir, app=APP)
    trained = run.load_model()
    inside = [layer for layer in trained.layers if isinstance(layer, keras.Model)]
    given = inside[0] if inside else run.load_model("encoder.keras")
    pairs = {"encoder": (encoder, given), "decoder": (decoder, trained.get_layer("decoder"))}
    for name, (new, old) in pairs.items():
        checkpoints.require_same_shapes(name, _shapes(new), _shapes(old), run_dir=run_dir)
    encoder.set_weights(given.get_weights())
    known = Vocabulary.load(run.path / "vocab_words.txt").tokens
    places = {word: place for place, word in enumerate(known)}
    common = [(places[word], n) for n, word in enumerate(words.tokens) if word in places]
    source, target = np.array(common).T
    for new, old in zip(decoder.weights, pairs["decoder"][1].weights, strict=True):
        axis = _word_axis(new, decoder.embed)
        if axis is None:
            new.assign(old)
        else:
            values = np.moveaxis(np.array(new), axis, 0)
            values[target] = np.moveaxis(np.array(old), axis, 0)[source]
            new.assign(np.moveaxis(values, 0, axis))
    logger.info("begins from %s: %d of %d words known there", run_dir, len(common), len(words))


def _shapes(part: keras.Model | keras.layers.Layer) -> list[tuple[int | str, ...]]:
    """Of all weights, without the number of words, which may differ."""
    embed = getattr(part, "embed", None)
    found = []
    for weight in part.weights:
        axis = None if embed is None else _word_axis(weight, embed)
        found.append(tuple("words" if n == axis else size for n, size in enumerate(weight.shape)))
    return found


def _word_axis(weight: keras.Variable, embed: keras.layers.ReversibleEmbedding) -> int | None:
    """Along which axis a weight has an entry for each word."""
    if weight is embed.embeddings:
        return 0
    return 1 if weight is embed.reverse_embeddings else None
