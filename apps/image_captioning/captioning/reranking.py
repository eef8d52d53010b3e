"""The caption that agrees best with captions of similar images and with samples of the network.

The candidates are the captions of a wide beam and those of the most similar training image. The
network reads the latter as if it had written them, so that they have a score and attention too.
"""

import numpy as np
import tensorflow as tf

from apps.image_captioning.captioning.neighbours import Neighbours
from apps.image_captioning.captioning.writer import Writer
from apps.image_captioning.corpora import ptb
from common.decoding import sampling

NUM_WRITTEN = 20  # the beam
NUM_DRAWN = 60  # captions of the network's own that candidates are to agree with
_NUM_READ = 5  # captions of the most similar image
_PRICE = 0.2  # CIDEr-D for each point by which a score is below the last of the beam


class Reranking:
    """Captions of grids, in the order of agreement.

    A caption of the most similar image is among those it is compared with, and so agrees too well.
    It therefore pays for each point by which its score is below the last one of the beam: little
    where training repeats its sentences, much where each image has its own.

    Args:
        writer: of the network.
        neighbours: the training images.
        beam: captions written of each image.
    """

    def __init__(self, writer: Writer, neighbours: Neighbours, *, beam: int = NUM_WRITTEN):
        self.writer, self.neighbours, self.beam = writer, neighbours, beam

        @tf.function(reduce_retracing=True)
        def decode(grid, read_ids):
            written = writer.write(grid, beam=beam)
            read = writer.read(grid, read_ids)
            drawn = writer.draw(grid, count=NUM_DRAWN)
            candidates = _join(written, read)
            return candidates, writer.as_text(candidates.token_ids), writer.as_text(drawn.token_ids)

        self._decode = decode

    def __call__(self, grid: tf.Tensor) -> sampling.Decoded:
        """Grid float16 (batch, rows, columns, channels) -> captions, the best first.

        Behind those of the beam there is room for the captions of the most similar image; where
        they are the same or hold unknown words, their score is minus infinity.
        """
        similar = self.neighbours.similar(grid.numpy())
        nearest = [
            [" ".join(ptb.tokenize(caption)) for caption in of_image.captions[0]]
            for of_image in similar
        ]
        candidates, texts, drawn = self._decode(grid, self.writer.as_ids(nearest, count=_NUM_READ))
        places, scores = [], candidates.scores.numpy()
        for row, (encoded, samples) in enumerate(zip(texts.numpy(), drawn.numpy(), strict=True)):
            captions = _strings(encoded)
            repeated = [n for n, caption in enumerate(captions) if caption in captions[:n]]
            scores[row, repeated] = -np.inf
            agreement = self.neighbours.agreement(captions, similar[row], _strings(samples))
            agreement -= _PRICE * _below(scores[row], self.beam)
            places.append(np.argsort(-agreement, kind="stable"))
        candidates = candidates._replace(scores=tf.constant(scores))
        ordered = (tf.gather(part, np.array(places), batch_dims=1) for part in candidates)
        return sampling.Decoded(*ordered)


def _join(first: sampling.Decoded, second: sampling.Decoded) -> sampling.Decoded:
    """The hypotheses of both, those of `first` before those of `second`."""
    time = tf.maximum(tf.shape(first.token_ids)[2], tf.shape(second.token_ids)[2])

    def longer(part):  # with zeros: padding and no attention
        if part.shape.rank < 3:
            return part
        missing = [[0, 0], [0, 0], [0, time - tf.shape(part)[2]]]
        return tf.pad(part, missing + [[0, 0]] * (part.shape.rank - 3))

    pairs = zip(first, second, strict=True)
    return sampling.Decoded(*(tf.concat([longer(a), longer(b)], 1) for a, b in pairs))


def _below(scores: np.ndarray, beam: int) -> np.ndarray:
    """By how much each score is below the last of the beam, the first `beam` of them."""
    written = scores[:beam]
    return np.maximum(0, np.min(written, initial=np.inf, where=written > -np.inf) - scores)


def _strings(captions: np.ndarray) -> list[str]:
    return [caption.decode() for caption in captions]
