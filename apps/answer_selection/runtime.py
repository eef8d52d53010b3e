"""Ranks sentences with an exported network: NumPy and ONNX Runtime or LiteRT, nothing else.

python runtime.py "What does tol do?" "Stopping tolerance." "Number of jobs."

Stands on its own: `export --format onnx` or `litert` puts it beside the model file.
"""

import argparse
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from agreement import final_scores  # pyright: ignore[reportMissingImports]
from network import Network, read_lines
from words import padded, standardize

AT_ONCE = 256  # candidates scored in one call; bounds the memory
ENDING = re.compile(r"(ings?|edly|ed|ies|es|s|ly|e|y)$")
NUM_LETTERS = 3
MOST_BYTES = 32  # of a word that count for its bucket
_MASK = 2**64 - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


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
        compared = []
        for part in (str, stem, lambda word: word[:NUM_LETTERS]):
            rows = [[keys.setdefault(part(w), len(keys) + 1) for w in text] for text in split]
            compared.append(padded(rows)[0])
        keys_of_words = np.stack(compared, axis=-1)
        return {f"{name}_ids": ids, f"{name}_keys": keys_of_words, f"{name}_mask": mask}

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


def fingerprint64(text: bytes) -> int:
    """FarmHash's Fingerprint64 of at most 32 bytes, by which unknown words share vectors.

    After farmhash.cc of https://github.com/google/farmhash (Copyright 2014 Google, MIT licence),
    whose names it keeps; TensorFlow's `to_hash_bucket_fast` is it modulo the number of buckets.
    """
    size = len(text)
    mul = _K2 + 2 * size
    if size >= 17:
        a, b = _fetch(text, 0) * _K1, _fetch(text, 8)
        c, d = _fetch(text, size - 8) * mul, _fetch(text, size - 16) * _K2
        first = _rotate(a + b, 43) + _rotate(c, 30) + d
        return _mix(first, a + _rotate(b + _K2, 18) + c, mul)
    if size >= 8:
        a, b = _fetch(text, 0) + _K2, _fetch(text, size - 8)
        return _mix(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)
    if size >= 4:
        first, last = struct.unpack("<I", text[:4])[0], struct.unpack("<I", text[-4:])[0]
        return _mix(size + (first << 3), last, mul)
    if size:
        y, z = text[0] + (text[size >> 1] << 8), size + (text[-1] << 2)
        return _shift_mix(y * _K2 ^ z * _K0) * _K2 & _MASK
    return _K2


def _fetch(text: bytes, place: int) -> int:
    return struct.unpack_from("<Q", text, place)[0]


def _rotate(value: int, shift: int) -> int:
    value &= _MASK
    return (value >> shift | value << (64 - shift)) & _MASK


def _shift_mix(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _mix(u: int, v: int, mul: int) -> int:
    a = _shift_mix(((u ^ v) & _MASK) * mul)
    return _shift_mix(((v ^ a) & _MASK) * mul) * mul & _MASK


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
