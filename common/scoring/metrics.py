"""Scores of answers and predictions: plain Python in, a float in [0, 1] out; no TensorFlow.

Visual question answering: VQA soft accuracy, and WUPS over WordNet. Any app: means by group, and
the share of the most frequent prediction.
"""

import functools
import itertools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from common.scoring.vqa_answers import normalize_vqa_answer, single_line

_HUMANS_FOR_FULL_CREDIT = 3
_WUPS_PENALTY = 0.1  # factor on a similarity below the threshold


def vqa_soft_accuracy(predicted: str, human_answers: Sequence[str]) -> float:
    """Scores one predicted answer against those of several humans, as the VQA v2 evaluation does.

        mean over humans h of min(1, n(h) / 3), n(h) = humans other than h who gave this answer

    Antol et al. 2015, https://arxiv.org/abs/1505.00468; https://visualqa.org/evaluation.html.
    Official with ten humans, where 1, 2, 3, 4 matches give 0.3, 0.6, 0.9, 1.

    Both sides go through `normalize_vqa_answer` only if the humans differ: as in the official code,
    answers on which all agree are compared as written, so "Yes" does not match ten times "yes".

    Departure for fewer than four humans, who could never reach full credit: the 3 becomes the
    number of other humans. A single human answer means exact match as written.
    """
    answer, humans = single_line(predicted), [single_line(human) for human in human_answers]
    if len(set(humans)) > 1:
        answer, humans = normalize_vqa_answer(answer), [normalize_vqa_answer(h) for h in humans]

    matches = [human == answer for human in humans]
    if len(matches) == 1:
        return float(matches[0])
    needed = min(_HUMANS_FOR_FULL_CREDIT, len(matches) - 1)
    return statistics.fmean(min(1.0, (sum(matches) - own) / needed) for own in matches)


def wups(
    predicted: Sequence[str],
    truth: Sequence[str],
    *,
    threshold: float,
    similarity: Callable[[str, str], float],
) -> float:
    """Scores the answer words of one question: Wu-Palmer set similarity, "WUPS@threshold".

        min(prod over p in predicted of max over t in truth of mu(p, t),
            prod over t in truth of max over p in predicted of mu(t, p))

    mu is 1 for equal words, else the similarity, times 0.1 where it is below the threshold.
    Malinowski & Fritz 2014, https://arxiv.org/abs/1410.0210, with the details of DAQUAR's
    calculate_wups.py: words are compared as written, nothing is lower-cased, and a word given twice
    counts twice. Custom is to report thresholds 0.9 and 0.0; a similarity that is always 0 gives
    DAQUAR's accuracy.

    Arguments are lists of words (for DAQUAR split the answer at commas and strip each part).
    Two empty lists score 1, one empty list scores 0.
    """
    if not predicted or not truth:
        return float(not predicted and not truth)

    def graded(first: str, second: str) -> float:
        if first == second:
            return 1.0
        score = similarity(first, second)
        return score if score >= threshold else _WUPS_PENALTY * score

    def coverage(words: Sequence[str], others: Sequence[str]) -> float:
        return math.prod(max(graded(word, other) for other in others) for word in words)

    return min(coverage(predicted, truth), coverage(truth, predicted))


def load_wordnet_similarity() -> Callable[[str, str], float] | None:
    """The Wu-Palmer similarity of two nouns, in [0, 1]; None without nltk or its WordNet.

    2 depth(c) / (depth(a) + depth(b)), c the deepest common ancestor; the highest of all senses
    a, b of the two (Wu & Palmer 1994, https://doi.org/10.3115/981732.981751). As in DAQUAR's
    script, plurals find their singular, "coffee_maker" its entry but "coffee maker" not; a word
    that WordNet lacks has similarity 0, and equal words have 1 even then.
    """
    try:
        from nltk.corpus import wordnet

        wordnet.ensure_loaded()
    except (ImportError, LookupError):
        return None

    @functools.cache
    def similarity(first: str, second: str) -> float:
        if first == second:
            return 1.0
        senses = (wordnet.synsets(word, pos="n") for word in (first, second))
        pairs: Iterable[Any] = itertools.product(*senses)
        return max((noun.wup_similarity(other) or 0.0 for noun, other in pairs), default=0.0)

    return similarity


def accuracy_by_group(correct: Sequence[float], groups: Sequence[str]) -> dict[str, float]:
    """The mean score of each group, in alphabetical order.

    >>> accuracy_by_group([1, 0, 1], ["colour", "colour", "shape"])
    {'colour': 0.5, 'shape': 1.0}
    """
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for score, group in zip(correct, groups, strict=True):
        scores[group].append(score)
    return {group: statistics.fmean(scores[group]) for group in sorted(scores)}


class AnswerCollapse(NamedTuple):
    """How often a model predicts its most frequent answer."""

    num_distinct: int
    most_frequent: str
    share: float  # of all predictions, in (0, 1]


def answer_collapse(predictions: Sequence[str]) -> AnswerCollapse:
    """Counts at least one prediction; of equally frequent ones the first is named."""
    counts = Counter(predictions)
    answer, count = counts.most_common(1)[0]
    return AnswerCollapse(len(counts), answer, count / len(predictions))
