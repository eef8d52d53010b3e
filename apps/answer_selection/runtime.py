"""Ranks sentences with an exported network: NumPy and ONNX Runtime or LiteRT, nothing else.

python runtime.py "What does tol do?" "Stopping tolerance." "Number of jobs."

Stands on its own: `export --format onnx` or `litert` puts it beside the model file.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fingerprint import fingerprint64
from network import Network, read_lines
from words import padded, standardize

AT_ONCE = 256  # candidates scored in one call; bounds the memory
ENDING = re.compile(r"(ings?|edly|ed|ies|es|s|ly|e|y)$")
NUM_LETTERS = 3
MOST, SAME = 256, 0.9999  # candidates that are compared, and the cosine of copies


class Runtime:
    """What the SavedModel's signature "rank" does.

    Args:
        folder: of the export.
        threads: of the network; those of the machine if None.
    """

    def __init__(self, folder: Path, *, threads: int | None = None):
        self.network = Network(folder, threads=threads)
        self.settings = self.network.settings
        self.ids = {word: n for n, word in enumerate(read_lines(folder / "vocab_words.txt"))}

    def __call__(self, *, question: str, candidates: Sequence[str]) -> dict[str, np.ndarray]:
        """Scores float32 (candidates,), and order (candidates,): places, best first."""
        keys: dict[str, int] = {}  # numbers for what is compared, from 1 on; 0 is padding
        asked = self.encode([question], "question", keys)
        step = min(self.network.most_rows, AT_ONCE)
        given = [
            self.encode(candidates[start : start + step], "candidate", keys)
            for start in range(0, len(candidates), step)
        ]
        parts = [self.network(**asked, **some) for some in given]
        scores = np.concatenate([part["score"] for part in parts])
        if self.settings["agreement"]:
            bags = [
                bag(ids, weights)
                for some, part in zip(given, parts, strict=True)
                for ids, weights in zip(some["candidate_ids"], part["unasked"], strict=True)
            ]
            scores = agree(scores, bags, self.settings["agreement"])
        return {"order": np.argsort(-scores, kind="stable"), "scores": scores}

    def encode(self, texts: Sequence[str], name: str, keys: dict[str, int]) -> dict:
        """Ids, keys and mask of texts, by the names of the network's inputs."""
        split = [words(text)[: self.settings["max_words"][name]] for text in texts]
        if not all(split):
            raise ValueError(f"{name}: expected at least one word, found none in one of {texts}")
        ids, mask = padded([[self.word_id(word) for word in text] for text in split])
        compared = [
            padded(
                [[keys.setdefault(part(word), len(keys) + 1) for word in text] for text in split]
            )
            for part in (str, stem, lambda word: word[:NUM_LETTERS])
        ]
        numbers = np.stack([one for one, _ in compared], axis=-1)
        return {f"{name}_ids": ids, f"{name}_keys": numbers, f"{name}_mask": mask}

    def word_id(self, word: str) -> int:
        """Its place in the vocabulary, or after it, in a bucket of unknown words."""
        bucket = fingerprint64(word.encode()) % self.settings["num_buckets"]
        return self.ids[word] if word in self.ids else len(self.ids) + bucket


def words(text: str) -> list[str]:
    """The parts of `n_jobs` are words, and every number is the word "num"."""
    return re.sub(r"\b\d+\b", "num", standardize(text.replace("_", " ")), flags=re.ASCII).split()


def stem(word: str) -> str:
    """The word without its ending, if it is longer than four letters."""
    return ENDING.sub("", word) if len(word) > 4 else word


def bag(ids: np.ndarray, weights: np.ndarray) -> dict[int, float]:
    """The words of a candidate that count, with their weights, of (time,) each."""
    pairs = zip(ids.tolist(), weights.tolist(), strict=True)
    return {word: weight for word, weight in pairs if weight > 0}


def agree(scores: np.ndarray, bags: Sequence[dict[int, float]], weight: float) -> np.ndarray:
    """Scores float32 (candidates,) with what the best ones share; of each, its words' weights."""
    best = np.argsort(-scores, kind="stable")[:MOST]
    columns = {word: n for n, word in enumerate({word for place in best for word in bags[place]})}
    found = np.zeros((len(best), len(columns)), np.float32)
    for row, place in enumerate(best):
        for word, value in bags[place].items():
            found[row, columns[word]] = value
    found /= np.sqrt(np.maximum(np.square(found).sum(axis=1, keepdims=True), 1e-12))
    similar = found @ found.T
    others = (similar < SAME) & ~np.eye(len(best), dtype=bool)
    right = np.where(others, scores[best], np.finfo(np.float32).min)
    shares = np.exp(right - right.max(axis=1, keepdims=True)) * others
    expected = (shares * similar).sum(axis=1) / np.maximum(shares.sum(axis=1), 1e-12)
    agreed = scores.copy()
    agreed[best] += weight * expected
    return agreed


def main() -> None:
    """Prints the candidates with their scores, best first."""
    parser = argparse.ArgumentParser(description="Ranks sentences that may answer a question.")
    parser.add_argument("question")
    parser.add_argument("candidate", nargs="+")
    given = parser.parse_args()
    found = Runtime(Path(__file__).parent)(question=given.question, candidates=given.candidate)
    for place in found["order"]:
        print(f"{found['scores'][place]:8.3f}  {given.candidate[place]}")


if __name__ == "__main__":
    main()
