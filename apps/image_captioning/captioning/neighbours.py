"""Training images that are most like another one, and captions chosen by what people say of them.

Devlin et al. 2015, https://arxiv.org/abs/1505.04467. `Neighbours.consensus` chooses among their
captions; `Reranking` among those of a wide beam, also by agreement with samples of the network.
"""

import functools
import itertools
import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from apps.image_captioning.captioning import scoring
from apps.image_captioning.captioning.writer import Writer
from apps.image_captioning.corpora.ptb import tokenize
from common.decoding import sampling
from common.runs import files
from common.runs.errors import UserError

_NUM_CONSENSUS = 12  # images whose captions the baseline `consensus_12` chooses among
_NUM_SIMILAR = 30
_SOFTNESS = 0.1  # a cosine lower by this makes a weight e times smaller
_FOLDER = "neighbours"

NUM_WRITTEN = 20  # captions in the beam of a reranking
_NUM_DRAWN = 60  # samples of the network that candidates are to agree with

_LONGEST = 4  # words of an n-gram
_SIGMA = 6.0  # of CIDEr-D's penalty on a difference of length


class Cider:
    """CIDEr-D (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726) with fixed frequencies.

    A caption alone is scored as among thousands. Where the documents are the references themselves,
    the mean is the `cider` of `scoring.score`.

    Args:
        documents: all captions of each image of training.
    """

    def __init__(self, documents: Sequence[Sequence[str]]):
        grams = ({gram for text in captions for gram in _ngrams(text)} for captions in documents)
        self.frequencies = Counter(itertools.chain.from_iterable(grams))
        self.log_total = math.log(len(documents))
        self._vector = functools.lru_cache(maxsize=100_000)(self._make_vector)

    def similarity(self, caption: str, reference: str) -> float:
        """In [0, 10]; 10 for two equal captions of at least four words that are not in all images.

        10 / 4 * exp(-(difference of lengths) ** 2 / (2 * 36)) * sum over n of
            sum over n-grams of min(g, h) * h / (|g| |h|)
        """
        (ours, length), (theirs, other_length) = self._vector(caption), self._vector(reference)
        total = 0.0
        for (ngrams, norm), (others, other_norm) in zip(ours, theirs, strict=True):
            shared = ngrams.keys() & others.keys()
            product = sum(min(ngrams[gram], others[gram]) * others[gram] for gram in shared)
            total += product / (norm * other_norm) if product else 0.0
        return 10 / _LONGEST * total * math.exp(-((length - other_length) ** 2) / (2 * _SIGMA**2))

    def agreement(
        self,
        candidates: Sequence[str],
        references: Sequence[Sequence[str]],
        weights: Sequence[float] | None = None,
    ) -> list[float]:
        """How like each candidate is to the captions of some images, in [0, 10].

        The mean of the images, with their weights, of the mean similarity to the captions of each.
        """
        return [
            statistics.fmean(
                (
                    statistics.fmean(self.similarity(candidate, caption) for caption in captions)
                    for captions in references
                ),
                weights,
            )
            for candidate in candidates
        ]

    def _make_vector(self, caption: str) -> tuple:
        """For each n the weights of the n-grams and their norm; the official length."""
        parts: list[dict[tuple, float]] = [{} for _ in range(_LONGEST)]
        counts = _ngrams(caption)
        for gram, count in counts.items():
            rarity = self.log_total - math.log(max(1, self.frequencies[gram]))
            parts[len(gram) - 1][gram] = count * rarity
        norms = [math.sqrt(sum(weight**2 for weight in part.values())) for part in parts]
        num_bigrams = sum(count for gram, count in counts.items() if len(gram) == 2)
        return list(zip(parts, norms, strict=True)), num_bigrams


class Similar(NamedTuple):
    """The training images that are most like one image, nearest first."""

    captions: list[list[str]]
    weights: np.ndarray  # float32 (images,), sum 1: a softmax of the cosines


class Neighbours:
    """Training images by the mean of their grids, kept in the run directory.

    Args:
        features: float16 (images, channels), of length 1.
        captions: of each image.
    """

    def __init__(self, features: np.ndarray, captions: list[list[str]]):
        self.features, self.captions = features.astype(np.float32), captions
        self.cider = Cider(captions)

    @classmethod
    def load(cls, run_dir: Path) -> "Neighbours":
        """Reads what `save` has written.

        Raises:
            UserError: the training did not come to its end.
        """
        folder = run_dir / _FOLDER
        if not (folder / "captions.json").exists():
            raise UserError(
                f"expected {folder}, found none: the training has not finished; "
                "continue it with --resume"
            )
        captions = files.read_json(folder / "captions.json", [[""]])
        return cls(np.load(folder / "features.npy"), captions)

    @staticmethod
    def save(run_dir: Path, batches: Iterable[dict], grid_of: Callable) -> None:
        """Writes features and captions of the images in `batches`, whole or not at all."""
        features, captions = [], []
        for batch in batches:
            features.append(pooled(np.asarray(grid_of(batch))).astype(np.float16))
            captions += scoring.references_of(batch)
        path = run_dir / _FOLDER
        with files.replacing(path, is_older=lambda old: (old / "captions.json").exists()) as folder:
            folder.mkdir()
            np.save(folder / "features.npy", np.concatenate(features))
            (folder / "captions.json").write_text(json.dumps(captions), encoding="utf-8")

    def similar(self, grid: np.ndarray) -> list[Similar]:
        """The training images that are most like each grid."""
        cosines = pooled(grid) @ self.features.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :_NUM_SIMILAR]
        nearest = np.take_along_axis(cosines, order, axis=1)
        weights = np.exp((nearest - nearest[:, :1]) / _SOFTNESS)
        weights /= weights.sum(axis=1, keepdims=True)
        return [
            Similar([self.captions[place] for place in places], row)
            for places, row in zip(order, weights, strict=True)
        ]

    def consensus(self, similar: Similar) -> str:
        """The caption of the twelve nearest images that agrees best with all of theirs."""
        nearest = similar.captions[:_NUM_CONSENSUS]
        candidates = list(dict.fromkeys(caption for captions in nearest for caption in captions))
        return candidates[np.argmax(self.cider.agreement(candidates, nearest))]

    def agreement(self, candidates: list[str], similar: Similar, drawn: list[str]) -> np.ndarray:
        """How well each candidate agrees, float64, 0 to 20.

        With the captions of similar images and, as much, with those that the network draws itself:
        minimum Bayes risk (Kumar & Byrne 2004, https://aclanthology.org/N04-1022).
        """
        people = self.cider.agreement(candidates, similar.captions, similar.weights.tolist())
        return np.add(people, self.cider.agreement(candidates, [drawn]))


class Reranking:
    """Writes `beam` captions of each grid, in the order of their agreement."""

    def __init__(self, writer: Writer, neighbours: Neighbours, *, beam: int = NUM_WRITTEN):
        self.neighbours = neighbours

        @tf.function(reduce_retracing=True)
        def decode(grid):
            written, drawn = writer.write(grid, beam=beam), writer.draw(grid, count=_NUM_DRAWN)
            return written, writer.as_text(written.token_ids), writer.as_text(drawn.token_ids)

        self._decode = decode

    def __call__(self, grid: tf.Tensor) -> sampling.Decoded:
        """Grid float16 (batch, rows, columns, channels) -> captions, the best first."""
        written, *texts = self._decode(grid)
        places = []
        for similar, *rows in zip(
            self.neighbours.similar(grid.numpy()), *(text.numpy() for text in texts), strict=True
        ):
            captions, samples = ([caption.decode() for caption in row] for row in rows)
            agreement = self.neighbours.agreement(captions, similar, samples)
            places.append(np.argsort(-agreement, kind="stable"))
        ordered = (tf.gather(part, np.array(places), batch_dims=1) for part in written)
        return sampling.Decoded(*ordered)


def pooled(grid: np.ndarray) -> np.ndarray:
    """Grids (batch, rows, columns, channels) -> float32 (batch, channels) of length 1."""
    mean = grid.mean(axis=(1, 2), dtype=np.float32)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)


def _ngrams(caption: str) -> Counter:
    words = tokenize(caption)
    return Counter(
        tuple(words[start : start + size])
        for size in range(1, _LONGEST + 1)
        for start in range(len(words) - size + 1)
    )
