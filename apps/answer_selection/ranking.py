"""MAP, MRR and P@1 as trec_eval gives them, which questions count, and how sure a difference is.

The scores come from trec_eval itself (pytrec-eval-terrier). It holds scores in single precision
and ranks equal ones by falling candidate id, as strings. Ids must therefore not depend on the
labels, or a scorer that gives every candidate the same score gains from it; records.py makes them
by a hash.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pytrec_eval

Protocol = Literal["raw", "clean", "filtered"]

_MEASURES = {"map": "map", "recip_rank": "mrr", "P_1": "p_at_1"}  # trec_eval's name: ours


class Ranked(NamedTuple):
    """A question whose candidates were scored."""

    question_id: str
    candidate_ids: Sequence[str]
    labels: Sequence[int]
    scores: Sequence[float]


class QuestionResult(NamedTuple):
    """How one question was ranked; a row of the per-question table."""

    question_id: str
    num_right: int
    num_wrong: int
    right_ranks: tuple[int, ...]  # from 1, rising
    average_precision: float
    reciprocal_rank: float
    precision_at_1: float


class Summary(NamedTuple):
    """Means over the questions that count, and how many there were of each kind in all."""

    metrics: dict[str, float]  # map, mrr, p_at_1
    num_questions: int  # that count
    num_without_right: int
    num_without_wrong: int


class Difference(NamedTuple):
    """MAP of one scorer less that of another, with the interval of a paired bootstrap."""

    map_difference: float
    low: float
    high: float
    num_questions: int


def rank(candidate_ids: Sequence[str], scores: Sequence[float]) -> list[int]:
    """Indices of the candidates, best first, in the order of trec_eval.

    Raises:
        ValueError: a score is not finite in single precision.
    """
    with np.errstate(over="ignore"):
        single = np.asarray(scores, "float64").astype("float32").tolist()
    if not np.isfinite(single).all():
        raise ValueError(f"expected finite scores, got {list(scores)}")
    order = range(len(single))
    return sorted(order, key=lambda index: (single[index], candidate_ids[index]), reverse=True)


def score_questions(questions: Iterable[Ranked]) -> list[QuestionResult]:
    """Scores each question by itself; one without a right candidate has zeros.

    Raises:
        ValueError: two candidates of a question have one id, or a score is not finite.
    """
    results = []
    for one in questions:
        if len(set(one.candidate_ids)) != len(one.labels):
            raise ValueError(
                f"question {one.question_id}: expected an id of its own for each "
                f"of {len(one.labels)} candidates, got {list(one.candidate_ids)}"
            )
        order = rank(one.candidate_ids, one.scores)
        labels = dict(zip(one.candidate_ids, map(int, one.labels), strict=True))
        scores = dict(zip(one.candidate_ids, map(float, one.scores), strict=True))
        evaluator = pytrec_eval.RelevanceEvaluator({"question": labels}, set(_MEASURES))
        found = evaluator.evaluate({"question": scores})["question"]
        num_right = sum(labels.values())
        results.append(
            QuestionResult(
                question_id=one.question_id,
                num_right=num_right,
                num_wrong=len(labels) - num_right,
                right_ranks=tuple(
                    place for place, index in enumerate(order, start=1) if one.labels[index]
                ),
                average_precision=found["map"],
                reciprocal_rank=found["recip_rank"],
                precision_at_1=found["P_1"],
            )
        )
    return results


def counted(results: Iterable[QuestionResult], protocol: Protocol) -> list[QuestionResult]:
    """The questions that a protocol counts.

    raw: all. A question without a right candidate scores 0 and one without a wrong candidate 1,
        whatever the ranking: the "raw" TREC-QA of Rao et al. 2016,
        https://doi.org/10.1145/2983323.2983872.
    clean: those with both a right and a wrong candidate: the "clean" TREC-QA of the same paper,
        after Wang & Ittycheriah 2015, https://arxiv.org/abs/1507.02628.
    filtered: those with a right candidate, even if there is no wrong one: WikiQA's
        `-filtered.ref` files and figures, Yang et al. 2015, https://aclanthology.org/D15-1237.
    """
    if protocol == "raw":
        return list(results)
    with_right = [one for one in results if one.num_right]
    return with_right if protocol == "filtered" else [one for one in with_right if one.num_wrong]


def summarize(results: Sequence[QuestionResult], protocol: Protocol) -> Summary:
    """Means over the questions that count.

    Raises:
        ValueError: none counts.
    """
    kept = counted(results, protocol)
    if not kept:
        raise ValueError(f"expected questions that count as {protocol}, got none of {len(results)}")
    return Summary(
        metrics={
            "map": float(np.mean([one.average_precision for one in kept])),
            "mrr": float(np.mean([one.reciprocal_rank for one in kept])),
            "p_at_1": float(np.mean([one.precision_at_1 for one in kept])),
        },
        num_questions=len(kept),
        num_without_right=sum(not one.num_right for one in results),
        num_without_wrong=sum(not one.num_wrong for one in results),
    )


def bootstrap_difference(
    results: Sequence[QuestionResult],
    others: Sequence[QuestionResult],
    protocol: Protocol,
    *,
    level: float = 0.95,
    num_samples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """How much better the first scorer is than the second on the same questions.

    Questions are drawn with replacement, both scorers' results of a question together (Sakai 2006,
    https://doi.org/10.1145/1148170.1148261); the interval holds the middle `level` of the
    differences of MAP. A difference whose interval holds 0 may be chance.

    Raises:
        ValueError: the two are not about the same questions, or no question counts.
    """
    kept, other = counted(results, protocol), counted(others, protocol)
    if not kept or [one.question_id for one in kept] != [one.question_id for one in other]:
        raise ValueError(
            f"expected results of the same questions in one order, got {len(kept)} and {len(other)}"
        )
    differences = np.array(
        [
            one.average_precision - another.average_precision
            for one, another in zip(kept, other, strict=True)
        ]
    )
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(kept), np.full(len(kept), 1 / len(kept)), num_samples)
    samples = drawn @ differences / len(kept)
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Difference(float(differences.mean()), float(low), float(high), len(kept))
