"""Weights from another run: the layers as they are, the word vectors by the words."""

import dataclasses

import keras
import numpy as np
import pytest

from apps.image_captioning import initial, model
from apps.image_captioning.config import TINY
from common.inputs.text import SPECIALS, Vocabulary
from common.runs.errors import UserError

WORDS = Vocabulary((*SPECIALS, "zyzzyva", "face", "woman"))  # the drawings have no zyzzyva


def build(**options) -> model.Network:
    config = dataclasses.replace(TINY.model, **options)
    return model.build_network(config, len(WORDS), model.make_image_encoder(config))


@pytest.mark.parametrize("trained", [False, True])
def test_layers_and_the_vectors_of_known_words_are_copied(caption_run, trained):
    keras.utils.set_random_seed(5)
    network = build(train_image_encoder=trained)
    first = [np.array(one) for one in network.decoder.embed.weights]
    initial.copy_weights(caption_run, network.encoder, network.decoder, WORDS)
    given, _ = model.load_network(caption_run)
    known = Vocabulary.load(caption_run / "vocab_words.txt").tokens
    assert "face" in known and "zyzzyva" not in known

    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(network.encoder(images), given.encoder(images))
    np.testing.assert_array_equal(
        network.decoder.cell.get_weights()[0], given.decoder.cell.get_weights()[0]
    )
    new, old = network.decoder.embed, given.decoder.embed
    for place, word in enumerate(WORDS.tokens):
        rows = [np.array(new.embeddings)[place], np.array(new.reverse_embeddings)[:, place]]
        if word in known:
            there = known.index(word)
            wanted = [np.array(old.embeddings)[there], np.array(old.reverse_embeddings)[:, there]]
        else:
            wanted = [first[0][place], first[1][:, place]]
        np.testing.assert_array_equal(rows, wanted)


def test_other_shapes_are_named(caption_run):
    network = build(units=5)
    with pytest.raises(UserError, match=r"decoder.*--model"):
        initial.copy_weights(caption_run, network.encoder, network.decoder, WORDS)
