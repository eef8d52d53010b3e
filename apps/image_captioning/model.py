"""Image captioning: the training graph, and the part that takes image bytes and gives captions.

image uint8 (batch, size, size, 3), or grid float16 (batch, rows, columns, channels) of a frozen
CNN, token_ids int32 and token_mask bool (batch, captions, time)
    -> logits (steps, vocab) of real steps
"""

import logging
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from apps.image_captioning.captioning.decoder import DECODERS, Decoder
from apps.image_captioning.captioning.encoder import make_image_encoder
from apps.image_captioning.captioning.writer import Writer
from apps.image_captioning.config import APP, Config, ModelConfig
from common.decoding.sampling import Decoded
from common.inputs import images
from common.inputs.text import Vocabulary
from common.runs.directory import RunDirectory
from common.training import checkpoints, fit

logger = logging.getLogger("cellstate")

FROZEN_ENCODER = "encoder.keras"  # in the run directory, where the CNN is not trained


class Network(NamedTuple):
    """An encoder and what `fit` trains; they share their weights where the CNN is trained along.

    Attributes:
        encoder: pixels (batch, size, size, 3) -> grid (batch, rows, columns, channels).
        model: from `build_model`.
    """

    encoder: keras.Model
    model: keras.Model

    @property
    def decoder(self) -> Decoder:
        """The layer of the model that writes captions."""
        return self.model.get_layer("decoder")

    def grid_of(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The grids of a batch: from disk, or what the encoder sees in its images."""
        return batch["grid"] if "grid" in batch else self.encoder(batch["image"], training=False)


def build_model(
    config: ModelConfig,
    num_words: int,
    encoder: keras.Model,
    *,
    coverage: float = 0.0,
) -> keras.Model:
    """Connects an encoder with a new decoder.

    Args:
        config: options.
        num_words: size of the vocabulary.
        encoder: see Network; part of the model if `config` has it trained along, else the model
            takes its grids.
        coverage: weight of the doubly stochastic term.
    """
    if config.train_image_encoder:
        inputs = keras.Input(encoder.input.shape[1:], dtype="uint8", name="image")
        grid = encoder(inputs)
    else:
        grid = inputs = keras.Input(encoder.output.shape[1:], dtype="float16", name="grid")
    token_ids = keras.Input((None, None), dtype="int32", name="token_ids")
    token_mask = keras.Input((None, None), dtype="bool", name="token_mask")
    # Its loop over time is written for float32: half precision is for a CNN that is trained along.
    with fit.dtype_policy("float32"):
        decoder = DECODERS[config.decoder](
            num_words,
            region_dim=config.region_dim,
            word_dim=config.word_dim,
            units=config.units,
            attention_units=config.attention_units,
            dropout=config.dropout,
            coverage=coverage,
            name="decoder",
        )
    logits = decoder(grid, token_ids, token_mask)
    words = {"token_ids": token_ids, "token_mask": token_mask}
    return keras.Model({inputs.name: inputs, **words}, logits)


class Captioner(tf.Module):
    """Image bytes to captions: what `predict` calls and `export` writes, so both give the same.

    image string (batch,) encoded images of any sizes -> caption string (batch, beam), best first,
        score float32 (batch, beam), their log-probabilities after the length penalty, and of the
        best one tokens string (batch, time), "" after its end, and attention float32
        (batch, time, rows, columns), each step summing to 1 up to the end.

    Raises:
        tf.errors.InvalidArgumentError: names the rows with unreadable images.
    """

    def __init__(self, network: Network, writer: Writer, *, beam: int):
        super().__init__()
        self.encoder, self.decoder = network.encoder, network.decoder  # tracked, for the export
        self.writer, self.beam = writer, beam
        self.image_size = network.encoder.input.shape[1]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the class."""
        return self.describe(self.writer.write(self.encode(image), beam=self.beam))

    def encode(self, image: tf.Tensor) -> tf.Tensor:
        """Images as in the class -> grid float16 (batch, rows, columns, channels)."""
        pixels = images.decode_batch(image, self.image_size)
        # Rounded as the features were that the decoder was trained on.
        return tf.cast(self.encoder(pixels, training=False), tf.float16)

    def describe(self, decoded: Decoded) -> dict[str, tf.Tensor]:
        """Captions, best first -> what the class gives."""
        _, rows, columns, _ = self.encoder.output.shape
        best = decoded.token_ids[:, 0]
        assert decoded.attention is not None
        attention = tf.reshape(decoded.attention[:, 0], [tf.shape(best)[0], -1, rows, columns])
        return {
            "caption": self.writer.as_text(decoded.token_ids),
            "score": decoded.scores,
            "tokens": self.writer.as_words(best),
            "attention": attention,
        }


def load_inference(run_dir: Path, *, beam: int | None = None) -> Captioner:
    """The inference part of a run; `beam` is that of the run unless given.

    Raises:
        UserError: no run of this app, or its model is missing or damaged.
    """
    config = RunDirectory.open(run_dir, app=APP).read_config(Config)
    network, writer = load_network(run_dir)
    return Captioner(network, writer, beam=beam or config.decoding.beam)


def load_network(run_dir: Path) -> tuple[Network, Writer]:
    """The network of a run, with its best weights, and what writes its captions.

    Raises:
        UserError: see `load_inference`.
    """
    run = RunDirectory.open(run_dir, app=APP)
    network = Network(*_load(run))
    num_words = network.decoder.embed.input_dim
    words = Vocabulary.load(run.path / "vocab_words.txt", size=num_words)
    return network, make_writer(run.read_config(Config), network, words)


def make_writer(config: Config, network: Network, words: Vocabulary) -> Writer:
    """What writes the captions of a network."""
    return Writer(
        network.decoder,
        words,
        max_words=config.data.max_caption_words,
        length_penalty=config.decoding.length_penalty,
    )


def start_encoder(config: Config, run: RunDirectory) -> keras.Model:
    """The encoder to train with: a new one, of a resumed run its own, or that of `init_from`.

    Raises:
        UserError: see `make_image_encoder`; `init_from` is no run, or has another encoder.
    """
    if (run.path / FROZEN_ENCODER).exists():
        return run.load_model(FROZEN_ENCODER)
    encoder, source = make_image_encoder(config.model), config.train.init_from
    if source is not None:
        trained, _ = _load(RunDirectory.open(source, app=APP))
        _copy("encoder", encoder.weights, trained.weights, source)
    return encoder


def start_decoder(decoder: Decoder, words: Vocabulary, run_dir: Path) -> None:
    """Copies the decoder of another run into a new one; word vectors go by the words.

    The vectors of words that the run does not know keep their own first values.

    Raises:
        UserError: no run of this app, or its layers have other shapes.
    """
    run = RunDirectory.open(run_dir, app=APP)
    trained = run.load_model().get_layer("decoder")
    weights, old = ([w for w in d.weights if "/embed/" not in w.path] for d in (decoder, trained))
    _copy("decoder", weights, old, run_dir)
    rows = {word: n for n, word in enumerate(Vocabulary.load(run.path / "vocab_words.txt").tokens)}
    shared = [(n, rows[word]) for n, word in enumerate(words.tokens) if word in rows]
    target, source = np.array(shared).T
    for new, old, axis in zip(decoder.embed.weights, trained.embed.weights, (0, 1), strict=True):
        values = np.moveaxis(np.array(new), axis, 0)
        values[target] = np.moveaxis(np.array(old), axis, 0)[source]
        new.assign(np.moveaxis(values, 0, axis))
    logger.info("begins from %s: %d of %d words known there", run_dir, len(shared), len(words))


def _load(run: RunDirectory) -> tuple[keras.Model, keras.Model]:
    """Encoder and model of a run; nothing outside its folder is read."""
    model = run.load_model()
    inside = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return inside[0] if inside else run.load_model(FROZEN_ENCODER), model


def _copy(name: str, new: list, old: list, run_dir: Path) -> None:
    """Copies the weights of a part of another run."""
    shapes = ([tuple(weight.shape) for weight in part] for part in (new, old))
    checkpoints.require_same_shapes(name, *shapes, run_dir=run_dir)
    for weight, source in zip(new, old, strict=True):
        weight.assign(source)
