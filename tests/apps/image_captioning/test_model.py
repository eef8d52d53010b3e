"""Networks that begin with the weights of another run."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from apps.image_captioning import model
from apps.image_captioning.config import TINY
from common.inputs.text import SPECIALS, Vocabulary
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

WORDS = Vocabulary((*SPECIALS, "zyzzyva", "face", "woman"))  # the drawings have no zyzzyva


def build(run_dir, path, **options) -> model.Network:
    config = replace(TINY, model=replace(TINY.model, **options))
    config = replace(config, train=replace(config.train, init_from=run_dir))
    encoder = model.start_encoder(config, RunDirectory(path))
    return model.Network(encoder, model.build_model(config.model, len(WORDS), encoder))


@pytest.mark.parametrize("trained", [False, True])
def test_layers_and_the_vectors_of_known_words_are_copied(caption_run, tmp_path, trained):
    keras.utils.set_random_seed(5)
    network = build(caption_run, tmp_path, train_image_encoder=trained)
    first = [np.array(weight) for weight in network.decoder.embed.weights]
    model.start_decoder(network.decoder, WORDS, caption_run)
    source, _ = model.load_network(caption_run)
    vocabulary = Vocabulary.load(caption_run / "vocab_words.txt").tokens
    assert "face" in vocabulary and "zyzzyva" not in vocabulary

    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(network.encoder(images), source.encoder(images))
    np.testing.assert_array_equal(
        network.decoder.cell.get_weights()[0], source.decoder.cell.get_weights()[0]
    )
    new, old = network.decoder.embed, source.decoder.embed
    for place, word in enumerate(WORDS.tokens):
        rows = [np.array(new.embeddings)[place], np.array(new.reverse_embeddings)[:, place]]
        if word in vocabulary:
            there = vocabulary.index(word)
            expected = [np.array(old.embeddings)[there], np.array(old.reverse_embeddings)[:, there]]
        else:
            expected = [first[0][place], first[1][:, place]]
        np.testing.assert_array_equal(rows, expected)


def test_other_shapes_are_named(caption_run, tmp_path):
    network = build(caption_run, tmp_path, units=5)
    with pytest.raises(UserError, match=r"decoder.*--model"):
        model.start_decoder(network.decoder, WORDS, caption_run)
