"""Scorers without a network: random, shared words, shared rare words, and BM25.

Each takes a question and its candidates and gives a score for each of them, (candidates,) float64.
What they know of words comes from the candidates of the training questions.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from apps.answer_selection.ranking.metrics import Ranked

Scorer = Callable[[str, Sequence[str]], np.ndarray]

K1, B = 1.2, 0.75  # usual in BM25: how fast a repeated word saturates, how much length counts

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


class WordStatistics(NamedTuple):
    """How common words are in the training candidates."""

    num_texts: int
    mean_words: float
    num_texts_with: dict[str, int]

    def idf(self, word: str) -> float:
        """log(1 + (N - n + 0.5) / (n + 0.5)), the IDF of BM25 in Lucene; never negative."""
        num_with = self.num_texts_with.get(word, 0)
        return math.log1p((self.num_texts - num_with + 0.5) / (num_with + 0.5))


def words(text: str) -> list[str]:
    """Lower-cased words; the parts of `n_jobs` are words.

    >>> words("Who wrote <num> n_jobs?")
    ['who', 'wrote', 'num', 'n', 'jobs']
    """
    return _WORD.findall(text.lower())


def count_words(texts: Iterable[str]) -> WordStatistics:
    """Reads texts once; the same text counts once however often it comes."""
    seen: set[bytes] = set()
    counts: Counter[str] = Counter()
    num_words = 0
    for text in texts:
        key = hashlib.sha1(text.encode()).digest()
        if key not in seen:
            seen.add(key)
            text_words = words(text)
            num_words += len(text_words)
            counts.update(set(text_words))
    return WordStatistics(len(seen), num_words / max(len(seen), 1), dict(counts))


def make_random(seed: int) -> Scorer:
    """Draws scores; the same seed and question give the same ones, whatever came before."""

    def score(question: str, candidates: Sequence[str]) -> np.ndarray:
        key = int.from_bytes(hashlib.sha256(question.encode()).digest()[:8], "big")
        return np.random.default_rng([seed, key]).random(len(candidates))

    return score


def word_overlap(question: str, candidates: Sequence[str]) -> np.ndarray:
    """How many distinct words of the question stand in the candidate."""
    question_words = set(words(question))
    return np.array([float(len(question_words & set(words(text)))) for text in candidates])


def make_idf_overlap(statistics: WordStatistics) -> Scorer:
    """The sum of the IDF of the words that question and candidate share."""

    def score(question: str, candidates: Sequence[str]) -> np.ndarray:
        question_words = set(words(question))
        shared = (sorted(question_words & set(words(text))) for text in candidates)
        return np.array([sum(map(statistics.idf, both)) for both in shared], float)

    return score


def make_bm25(statistics: WordStatistics, *, k1: float = K1, b: float = B) -> Scorer:
    """BM25 with the statistics of the training candidates.

        sum over words w of the question of idf(w) * n / (n + k1 * (1 - b + b * length / mean))

    n = how often w stands in the candidate, which is `length` words long. Robertson & Zaragoza
    2009, https://doi.org/10.1561/1500000019, as in Lucene 8. A library would take its statistics
    from the few candidates of one question.
    """

    def score_text(question_words: Sequence[str], text: str) -> float:
        text_words = words(text)
        counts = Counter(text_words)
        norm = k1 * (1 - b + b * len(text_words) / max(statistics.mean_words, 1.0))
        return sum(
            statistics.idf(word) * counts[word] / (counts[word] + norm)
            for word in question_words
            if word in counts
        )

    def score(question: str, candidates: Sequence[str]) -> np.ndarray:
        question_words = words(question)
        return np.array([score_text(question_words, text) for text in candidates], float)

    return score


def fit(training_candidates: Iterable[str], *, seed: int) -> dict[str, Scorer]:
    """All baselines by name, fitted on the texts of the training candidates."""
    statistics = count_words(training_candidates)
    return {
        "random": make_random(seed),
        "word_overlap": word_overlap,
        "idf_overlap": make_idf_overlap(statistics),
        "bm25": make_bm25(statistics),
    }


def rank(scorers: Mapping[str, Scorer], records: Iterable[dict]) -> dict[str, list[Ranked]]:
    """Every question of records (`data.load_split`, as NumPy) as each scorer ranks it, by name."""
    ranked: dict[str, list[Ranked]] = {name: [] for name in scorers}
    for record in records:
        question = record["question"].decode()
        candidates = [text.decode() for text in record["candidates"]]
        row = (
            record["question_id"].decode(),
            [name.decode() for name in record["candidate_ids"]],
            record["labels"].tolist(),
        )
        for name, scorer in scorers.items():
            ranked[name].append(Ranked(*row, scorer(question, candidates).tolist()))
    return ranked
