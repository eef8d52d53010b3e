"""Scorers without a network: random, shared words, shared rare words, and BM25.

Each takes a question and its candidates and gives a score for each of them, (candidates,) float64.
What they know of words comes from the candidates of the training questions.
"""

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from apps.answer_selection.ranking.metrics import Ranked

Scorer = Callable[[str, Sequence[str]], np.ndarray]

K1, B = 1.2, 0.75  # usual in BM25: how fast a repeated word saturates, how much length counts

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def words(text: str) -> list[str]:
    """Lower-cased words; the parts of `n_jobs` are words.

    >>> words("Who wrote <num> n_jobs?")
    ['who', 'wrote', 'num', 'n', 'jobs']
    """
    return _WORD.findall(unicodedata.normalize("NFC", text.lower()))


class WordStatistics:
    """How common words are in some texts; a text that comes again counts once."""

    def __init__(self, texts: Iterable[str]):
        distinct = [words(text) for text in set(texts)]
        self.num_texts = len(distinct)
        self.mean_words = sum(map(len, distinct)) / max(len(distinct), 1)
        self.num_texts_with = Counter(word for row in distinct for word in set(row))

    def idf(self, word: str) -> float:
        """log(1 + (N - n + 0.5) / (n + 0.5)), the IDF of BM25 in Lucene; never negative."""
        num_with = self.num_texts_with[word]
        return math.log1p((self.num_texts - num_with + 0.5) / (num_with + 0.5))

    def idf_overlap(self, question: str, candidates: Sequence[str]) -> np.ndarray:
        """The sum of the IDF of the words that question and candidate share."""
        question_words = set(words(question))
        shared = (sorted(question_words & set(words(text))) for text in candidates)
        return np.array([sum(map(self.idf, both)) for both in shared], float)

    def bm25(self, question: str, candidates: Sequence[str]) -> np.ndarray:
        """BM25 with the statistics of the training candidates.

            sum over words w of the question of idf(w) * n / (n + k1 * (1 - b + b * length / mean))

        n = how often w stands in the candidate, which is `length` words long. Robertson & Zaragoza
        2009, https://doi.org/10.1561/1500000019, as in Lucene 8. A library would take its
        statistics from the few candidates of one question.
        """
        question_words, scores = words(question), []
        for text in map(words, candidates):
            counts = Counter(text)
            norm = K1 * (1 - B + B * len(text) / max(self.mean_words, 1.0))
            shared = (word for word in question_words if word in counts)
            scores.append(sum(self.idf(w) * counts[w] / (counts[w] + norm) for w in shared))
        return np.array(scores, float)


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


def fit(training_candidates: Iterable[str], *, seed: int) -> dict[str, Scorer]:
    """All baselines by name, fitted on the texts of the training candidates."""
    statistics = WordStatistics(training_candidates)
    return {
        "random": make_random(seed),
        "word_overlap": word_overlap,
        "idf_overlap": statistics.idf_overlap,
        "bm25": statistics.bm25,
    }


def rank(scorers: Mapping[str, Scorer], records: Iterable[dict]) -> dict[str, list[Ranked]]:
    """Every question of records (`data.load_split`, as NumPy) as each scorer ranks it, by name."""
    ranked: dict[str, list[Ranked]] = {name: [] for name in scorers}
    for record in records:
        question, question_id = record["question"].decode(), record["question_id"].decode()
        candidates = [text.decode() for text in record["candidates"]]
        ids = [name.decode() for name in record["candidate_ids"]]
        for name, scorer in scorers.items():
            scores = scorer(question, candidates).tolist()
            ranked[name].append(Ranked(question_id, ids, record["labels"].tolist(), scores))
    return ranked
