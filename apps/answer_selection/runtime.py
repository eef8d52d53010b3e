"""Ranks sentences with an exported network: NumPy and ONNX Runtime or LiteRT, nothing else.

python runtime.py "What does tol do?" "Stopping tolerance." "Number of jobs."

Stands on its own: `export --format onnx` or `litert` puts it beside the model file.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from agreement import final_scores  # pyright: ignore[reportMissingImports]
from fingerprint import fingerprint64  # pyright: ignore[reportMissingImports]
from network import Network, read_lines
from words import padded, standardize

AT_ONCE = 256  # candidates scored in one call; bounds the memory
ENDING = re.compile(r"(ings?|edly|ed|ies|es|s|ly|e|y)$")
NUM_LETTERS = 3
MOST_BYTES = 64  # of a word that count for its bucket


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
        encoded_question = self.encode([question], "question", keys)
        step = min(self.network.most_rows, AT_ONCE)
        parts = []
        for start in range(0, len(candidates), step):
            encoded = self.encode(candidates[start : start + step], "candidate", keys)
            outputs = self.network(**encoded_question, **encoded)
            parts.append({**outputs, "ids": encoded["candidate_ids"]})
        scores = final_scores(parts, self.settings["agreement"])
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
        numbers = np.stack([rows for rows, _ in compared], axis=-1)
        return {f"{name}_ids": ids, f"{name}_keys": numbers, f"{name}_mask": mask}

    def word_id(self, word: str) -> int:
        """Its place in the vocabulary, or after it, in a bucket of unknown words."""
        bucket = fingerprint64(word.encode()[:MOST_BYTES]) % self.settings["num_buckets"]
        return self.ids[word] if word in self.ids else len(self.ids) + bucket


def words(text: str) -> list[str]:
    """The parts of `n_jobs` are words, and every number is the word "num"."""
    return re.sub(r"\b\d+\b", "num", standardize(text.replace("_", " ")), flags=re.ASCII).split()


def stem(word: str) -> str:
    """The word without its ending, if it is longer than four letters."""
    return ENDING.sub("", word) if len(word) > 4 else word


def main() -> None:
    """Prints the candidates, best first."""
    parser = argparse.ArgumentParser(description="Ranks sentences that may answer a question.")
    parser.add_argument("question")
    parser.add_argument("candidate", nargs="+")
    options = parser.parse_args()
    runtime = Runtime(Path(__file__).parent)
    answer = runtime(question=options.question, candidates=options.candidate)
    for rank, place in enumerate(answer["order"], start=1):
        print(f"{rank:3}. {options.candidate[place]}")


if __name__ == "__main__":
    main()
