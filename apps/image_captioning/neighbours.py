"""The training images that are most like another one, and what people say about them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from apps.image_captioning import scoring
from common import files
from common.errors import UserError

NUM_NEAREST = 12
_FOLDER = "neighbours"


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
        """Reads what `save` has left.

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
            captions += [[one.decode() for one in row if one] for row in batch["captions"].numpy()]
        with files.replacing(run_dir / _FOLDER) as folder:
            folder.mkdir()
            np.save(folder / "features.npy", np.concatenate(features))
            (folder / "captions.json").write_text(json.dumps(captions), encoding="utf-8")

    def nearest(self, grid: np.ndarray) -> list[list[list[str]]]:
        """Captions of the twelve nearest images, nearest first, for each grid."""
        similar = pooled(grid) @ self.features.T
        order = np.argsort(-similar, axis=1, kind="stable")[:, :NUM_NEAREST]
        return [[self.captions[place] for place in row] for row in order]

    def consensus(self, nearest: list[list[str]]) -> str:
        """The caption that agrees best with all captions of the nearest images."""
        candidates = [one for captions in nearest for one in captions]
        return self.best(list(dict.fromkeys(candidates)), nearest)

    def best(self, candidates: list[str], nearest: list[list[str]]) -> str:
        """The candidate that agrees best with the captions of the nearest images."""
        return candidates[self.order(candidates, nearest)[0]]

    def order(self, candidates: list[str], nearest: list[list[str]]) -> np.ndarray:
        """Places of the candidates; first the one that agrees best, of equal ones the earlier."""
        neighbours = [one for captions in nearest for one in captions]
        scores = scoring.consensus(candidates, neighbours, self.cider)
        return np.argsort(-np.array(scores), kind="stable")

    def rerank(self, captions: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Bytes (batch, beam), grids (batch, ..) -> int (batch, beam), `order` of each image."""
        given = zip(captions, self.nearest(grid), strict=True)
        return np.stack([self.order([one.decode() for one in beam], near) for beam, near in given])


def pooled(grid: np.ndarray) -> np.ndarray:
    """Grids (batch, rows, columns, channels) -> float32 (batch, channels) of length 1."""
    mean = grid.mean(axis=(1, 2), dtype=np.float32)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
