"""Networks: the paper's sizes, weights from another run, and a run directory that is complete."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from apps.image_captioning import model, predict, train
from apps.image_captioning.captioning.encoder import make_image_encoder
from apps.image_captioning.config import PAPER, TINY
from common.inputs.text import SPECIALS, Vocabulary
from common.runs.errors import UserError

from .conftest import encoded_image

WORDS = Vocabulary((*SPECIALS, "zyzzyva", "face", "woman"))  # the drawings have no zyzzyva


class Run:
    """A run directory in which there is nothing yet."""

    def __init__(self, path):
        self.path = path


def build(run_dir, path, **options) -> model.Network:
    config = replace(TINY, model=replace(TINY.model, **options))
    config = replace(config, train=replace(config.train, init_from=run_dir))
    encoder = model.start_encoder(config, Run(path))
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


def on_photos(preset, karpathy, **options):
    """A preset on eight photos of the fixture, for one epoch of two steps."""
    where = {"name": "karpathy", "root": karpathy, "cache_dir": karpathy / "cache"}
    return replace(
        preset,
        model=replace(preset.model, **options),
        data=replace(preset.data, **where, max_images=8),
        train=replace(preset.train, epochs=1, batch_size=4),
    )


def test_a_run_with_a_trained_cnn_loads_when_its_weights_file_is_gone(karpathy, tmp_path):
    options = {"image_encoder": "MobileNetV2", "image_size": 32, "train_image_encoder": True}
    inside = make_image_encoder(replace(TINY.model, **options, colour_bins=None)).layers
    path = tmp_path / "mobilenet.weights.h5"
    next(layer for layer in inside if isinstance(layer, keras.Model)).save_weights(path)
    config = on_photos(TINY, karpathy, **options, image_weights=path)
    run = train.train(config, tmp_path / "run")
    path.unlink()
    (captions,) = predict.Predictor.load(run.path).caption([encoded_image()])
    assert captions.captions


def test_the_model_of_the_paper_trains(karpathy, tmp_path):
    run = train.train(on_photos(PAPER, karpathy), tmp_path / "run")
    network, writer = model.load_network(run.path)
    assert network.encoder.output.shape[1:3] == (14, 14)
    assert (network.decoder.units, network.decoder.region_dim) == (1000, 512)
    row = (run.path / "history.csv").read_text().splitlines()[1]
    assert "nan" not in row
    assert "green" in writer.words.tokens
