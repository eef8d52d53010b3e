"""Image captioning: the training graph, and the part that takes image bytes and gives captions.

image uint8 (batch, size, size, 3), or grid float16 (batch, rows, columns, channels) of a frozen
CNN, token_ids int32 and token_mask bool (batch, captions, time)
    -> logits (steps, vocab) of real steps
"""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from apps.image_captioning.colours import RegionColours
from apps.image_captioning.config import APP, Config, ModelConfig
from apps.image_captioning.decoder import Decoder
from apps.image_captioning.decoders import DECODERS
from apps.image_captioning.writer import Writer
from common.decoding.sampling import Decoded
from common.inputs import images
from common.inputs.text import Vocabulary
from common.layers import vision
from common.runs.directory import RunDirectory
from common.runs.errors import UserError
from common.training import fit


class Network(NamedTuple):
    """The parts of one network; they share their weights.

    Attributes:
        encoder: pixels (batch, size, size, 3) -> grid (batch, rows, columns, channels).
        decoder: see decoders.py.
        model: what `fit` trains; takes "image" and contains the encoder where that is trained,
            takes "grid" where it is frozen.
    """

    encoder: keras.Model
    decoder: Decoder
    model: keras.Model

    def grid_of(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The grids of a batch: from disk, or what the encoder sees in its images."""
        return batch["grid"] if "grid" in batch else self.encoder(batch["image"], training=False)


def build_network(
    config: ModelConfig,
    num_words: int,
    encoder: keras.Model,
    *,
    coverage: float = 0.0,
    word_vectors: np.ndarray | None = None,
) -> Network:
    """Connects an encoder (`make_image_encoder`, or one of a run) with a new decoder.

    Args:
        config: options.
        num_words: size of the vocabulary.
        encoder: see Network; trained along if `config` says so.
        coverage: weight of the doubly stochastic term.
        word_vectors: float (num_words, word_dim), the initial ones.
    """
    if config.train_image_encoder:
        shown = keras.Input(encoder.input.shape[1:], dtype="uint8", name="image")
        grid = encoder(shown)
    else:
        grid = shown = keras.Input(encoder.output.shape[1:], dtype="float16", name="grid")
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
    if word_vectors is not None:
        decoder.embed.embeddings.assign(word_vectors)
    inputs = {shown.name: shown, "token_ids": token_ids, "token_mask": token_mask}
    return Network(encoder, decoder, keras.Model(inputs, logits))


def make_image_encoder(config: ModelConfig) -> keras.Model:
    """A new CNN: pixels (batch, size, size, 3) -> grid (batch, rows, columns, channels).

    Raises:
        UserError: its weights are missing or those of another network, or the size does not suit.
    """
    size = config.image_size
    try:
        if config.image_encoder == "small_cnn":
            encoder = vision.build_small_cnn(image_size=size, channels=config.cnn_channels)
        elif config.image_encoder == "efficientnet_lite0":
            encoder = vision.build_efficientnet_lite0(image_size=size)
        else:
            encoder = vision.build_application(
                config.image_encoder, image_size=size, weights=config.image_weights
            )
    except ValueError as error:  # the size does not suit this encoder
        raise UserError(f"model.image_encoder {config.image_encoder}: {error}") from error
    encoder.trainable = config.train_image_encoder
    if config.train_image_encoder:
        pretrained = config.image_encoder == "efficientnet_lite0" or config.image_weights
        thaw(encoder, config.train_encoder_from, keep_statistics=bool(pretrained))
    return encoder if config.colour_bins is None else _with_colours(encoder, config.colour_bins)


def thaw(encoder: keras.Model, first: str | None, *, keep_statistics: bool) -> None:
    """Lets the layers of a CNN be trained from the first on whose name begins with `first`.

    With `keep_statistics` no batch normalisation is trained, and all use their stored statistics.

    Raises:
        UserError: there is no such layer.
    """
    layers = [part for layer in encoder.layers for part in getattr(layer, "layers", [layer])]
    names = [layer.name for layer in layers]
    start = next((n for n, name in enumerate(names) if name.startswith(first or "")), None)
    if start is None:
        raise UserError(
            f"expected a layer of {encoder.name} that begins with {first!r}, its last ones are "
            f"{', '.join(names[-12:])}: choose one by --model.train-encoder-from"
        )
    for number, layer in enumerate(layers):
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = number >= start and not (normalises and keep_statistics)


def _with_colours(encoder: keras.Model, bins: int) -> keras.Model:
    grid = encoder.output
    colours = RegionColours(grid.shape[1], grid.shape[2], bins=bins, name="colours")(encoder.input)
    both = keras.layers.Concatenate(name="features_and_colours")([grid, colours])
    return keras.Model(encoder.input, both, name=f"{encoder.name}_root_colours_{bins}")


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
        return self.describe(self.writer.write(self.look(image), beam=self.beam))

    def look(self, image: tf.Tensor) -> tf.Tensor:
        """Images as in the class -> grid float16 (batch, rows, columns, channels)."""
        pixels = images.decode_batch(image, self.image_size)
        # Rounded as the features were that the decoder was trained on.
        return tf.cast(self.encoder(pixels, training=False), tf.float16)

    def describe(self, found: Decoded) -> dict[str, tf.Tensor]:
        """Captions, best first -> what the class gives."""
        _, rows, columns, _ = self.encoder.output.shape
        best = found.token_ids[:, 0]
        attention = tf.reshape(found.attention[:, 0], [tf.shape(best)[0], -1, rows, columns])
        return {
            "caption": self.writer.as_text(found.token_ids),
            "score": found.scores,
            "tokens": self.writer.as_words(best),
            "attention": attention,
        }


def load_captioner(run_dir: Path, *, beam: int | None = None) -> Captioner:
    """The inference part of a run; `beam` is that of the run unless given.

    Raises:
        UserError: no run of this app, or its model is missing or damaged.
    """
    config = RunDirectory.open(run_dir, app=APP).read_config(Config)
    network, writer = load_network(run_dir)
    return Captioner(network, writer, beam=beam or config.decoding.beam)


def load_network(run_dir: Path) -> tuple[Network, Writer]:
    """The network of a run, with its best weights, and what writes its captions."""
    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    words = Vocabulary.load(run.path / "vocab_words.txt")
    trained = run.load_model()
    frozen = not config.model.train_image_encoder
    encoder = run.load_model("encoder.keras") if frozen else make_image_encoder(config.model)
    network = build_network(config.model, len(words), encoder)
    network.model.set_weights(trained.get_weights())
    writer = Writer(
        network.decoder,
        words,
        max_words=config.data.max_caption_words,
        length_penalty=config.decoding.length_penalty,
    )
    return network, writer
