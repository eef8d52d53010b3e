"""The image encoder: pixels (batch, size, size, 3) -> grid (batch, rows, columns, channels).

A CNN, and beside its features the colours of each region, which the deep features of a CNN no
longer tell apart.
"""

import keras
from keras import ops

from apps.image_captioning.config import ModelConfig
from common.layers import vision
from common.runs.errors import UserError
from common.runs.registration import registered

_SIDE = 16  # pixels of a region's height and width that are read
_SCALE = 4.0  # of an even colour: as large as the features of a CNN beside it, 0 to 6


def make_image_encoder(config: ModelConfig) -> keras.Model:
    """A new encoder (see the module); frozen, or trainable as far as `config` says.

    Raises:
        UserError: its weights are missing or those of another network, or the size does not suit.
    """
    encoder = vision.make_image_encoder(config)
    if config.train_image_encoder:
        pretrained = config.image_encoder == "efficientnet_lite0" or config.image_weights
        thaw(encoder, config.train_encoder_from, keep_statistics=bool(pretrained))
    if config.colour_bins is None:
        return encoder
    _, rows, columns, _ = encoder.output.shape
    colours = RegionColours(rows, columns, bins=config.colour_bins, name="colours")(encoder.input)
    grid = keras.layers.Concatenate(name="features_and_colours")([encoder.output, colours])
    name = f"{encoder.name}_root_colours_{config.colour_bins}"
    return keras.Model(encoder.input, grid, name=name)


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


@registered("apps.image_captioning.model")
class RegionColours(keras.layers.Layer):
    """Colours: pixels (batch, size, size, 3) in 0..255 -> (batch, rows, columns, bins ** 3).

    Four times the square roots of a histogram whose bins sum to 1 (Hellinger's kernel: Arandjelovic
    & Zisserman 2012, https://doi.org/10.1109/CVPR.2012.6248018), so that a small patch of a colour
    counts beside a large one. A pixel is shared among the eight bins around its colour by trilinear
    weights, so that an even colour gives exactly its own values.

    Args:
        rows, columns: of the grid; a region is the part of the image of its place in it.
        bins: of each of red, green and blue.
    """

    def __init__(self, rows: int, columns: int, *, bins: int, **options):
        super().__init__(**options)
        self.rows, self.columns, self.bins = rows, columns, bins

    def call(self, pixels):
        """See the class."""
        # Nearest neighbours: a mean of two colours would be a third one.
        size = (self.rows * _SIDE, self.columns * _SIDE)
        scaled = ops.image.resize(ops.cast(pixels, "float32"), size, interpolation="nearest")
        scaled = ops.reshape(scaled, (-1, self.rows, _SIDE, self.columns, _SIDE, 3))
        regions = ops.reshape(ops.transpose(scaled, (0, 1, 3, 2, 4, 5)), (-1, _SIDE**2, 3))
        bins = ops.arange(self.bins, dtype="float32")
        weights = ops.relu(1.0 - ops.abs(regions[..., None] * ((self.bins - 1) / 255) - bins))
        red_green = weights[:, :, 0, :, None] * weights[:, :, 1, None, :]
        red_green = ops.reshape(red_green, (-1, _SIDE**2, self.bins**2))
        counts = ops.einsum("rpi,rpj->rij", red_green, weights[:, :, 2])  # r: regions of the batch
        shares = ops.reshape(counts, (-1, self.rows, self.columns, self.bins**3)) / _SIDE**2
        return _SCALE * ops.sqrt(shares)

    def compute_output_shape(self, pixels_shape):
        """See the class."""
        return (pixels_shape[0], self.rows, self.columns, self.bins**3)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        own = {"rows": self.rows, "columns": self.columns, "bins": self.bins}
        return {**super().get_config(), **own}
