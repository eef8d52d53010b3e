"""The colours of each region, which deep features of a CNN no longer tell apart."""

import keras
from keras import ops

_SIDE = 16  # pixels of a region's height and width that are looked at
_SCALE = 4.0  # of an even colour: as large as the features of a CNN beside it, 0 to 6


@keras.saving.register_keras_serializable("cellstate")
class RegionColours(keras.layers.Layer):
    """Colours: pixels (batch, size, size, 3) in 0..255 -> (batch, rows, columns, bins ** 3).

    Four times the square roots of a histogram whose bins sum to 1 (Hellinger's kernel: Arandjelovic
    & Zisserman 2012, https://doi.org/10.1109/CVPR.2012.6248018), so that a small patch of a colour
    is seen beside a large one. A pixel is shared among the eight bins around its colour by
    trilinear weights, so that an even colour says exactly which it is.

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
        seen = ops.image.resize(ops.cast(pixels, "float32"), size, interpolation="nearest")
        seen = ops.reshape(seen, (-1, self.rows, _SIDE, self.columns, _SIDE, 3))
        seen = ops.reshape(ops.transpose(seen, (0, 1, 3, 2, 4, 5)), (-1, _SIDE**2, 3))
        places = ops.arange(self.bins, dtype="float32")
        near = ops.relu(1.0 - ops.abs(seen[..., None] * ((self.bins - 1) / 255) - places))
        red_green = near[:, :, 0, :, None] * near[:, :, 1, None, :]
        red_green = ops.reshape(red_green, (-1, _SIDE**2, self.bins**2))
        counts = ops.einsum("rpi,rpj->rij", red_green, near[:, :, 2])  # r: regions of the batch
        shares = ops.reshape(counts, (-1, self.rows, self.columns, self.bins**3)) / _SIDE**2
        return _SCALE * ops.sqrt(shares)

    def compute_output_shape(self, pixels_shape):
        """See the class."""
        return (pixels_shape[0], self.rows, self.columns, self.bins**3)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        own = {"rows": self.rows, "columns": self.columns, "bins": self.bins}
        return {**super().get_config(), **own}
