"""The training images that are most like another one, and what people say about them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.image_captioning.captioning import scoring
from common.runs import files
from common.runs.errors import UserError

_NUM_CONSENSUS = 12  # images whose captions the baseline `consensus_12` chooses among
_NUM_SIMILAR = 30
_SOFTNESS = 0.04  # a cosine lower by this makes a weight e times smaller
_FOLDER = "neighbours"


class Similar(NamedTuple):
    """What people say about the training images that are most like one image, nearest first."""

    captions: list[list[str]]  # of each
    weights: np.ndarray  # float32 (images,), sum 1: a softmax of the cosines


class Neighbours:
    """Training images by the mean of their grids, kept in the run directory.

    Args:
        features: float16 (images, channels), of length 1.
        captions: of each image.
    """

    def __init__(self, features: np.ndarray, captions: list[list[str]]):
        self.features, self.captions = features.astype(np.float32), captions
        self.cider = scoring.Cider(captions)

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
        captions = files.read_json(folder / "captions.json")
        return cls(np.load(folder / "features.npy"), captions)

    @staticmethod
    def save(run_dir: Path, batches: Iterable[dict], grid_of: Callable) -> None:
        """Writes features and captions of the training images, whole or not at all.

        Args:
            run_dir: the run directory.
            batches: of the training split, each image once, with "captions".
            grid_of: batch -> grid.
        """
        features, captions = [], []
        for batch in batches:
            features.append(pooled(np.asarray(grid_of(batch))).astype(np.float16))
            captions += scoring.references_of(batch)
        with files.replacing(run_dir / _FOLDER) as folder:
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
        scores = scoring.consensus(candidates, nearest, self.cider)
        return candidates[np.argmax(scores)]

    def agreement(self, candidates: list[str], similar: Similar, drawn: list[str]) -> np.ndarray:
        """How well each candidate agrees, float64, 0 to 20.

        With the captions of similar images (Devlin et al. 2015) and, as much, with those that the
        network draws itself: minimum Bayes risk (Kumar & Byrne 2004,
        https://aclanthology.org/N04-1022).
        """
        people = scoring.consensus(
            candidates, similar.captions, self.cider, weights=similar.weights.tolist()
        )
        return np.add(people, scoring.consensus(candidates, [drawn], self.cider))


def pooled(grid: np.ndarray) -> np.ndarray:
    """Grids (batch, rows, columns, channels) -> float32 (batch, channels) of length 1."""
    mean = grid.mean(axis=(1, 2), dtype=np.float32)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
