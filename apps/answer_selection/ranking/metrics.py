"""MAP, MRR and P@1 as trec_eval gives them, which questions count, and how sure a difference is.

The scores come from trec_eval itself (pytrec-eval-terrier). It holds scores in single precision
and ranks equal ones by falling candidate id, as strings. Ids must therefore not depend on the
labels, or a scorer that gives every candidate the same score gains from it; corpora/records.py
makes them by a hash.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pytrec_eval

from apps.answer_selection.config import Protocol

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
    for question in questions:
        if len(set(question.candidate_ids)) != len(question.labels):
            raise ValueError(
                f"question {question.question_id}: expected an id of its own for each "
                f"of {len(question.labels)} candidates, got {list(question.candidate_ids)}"
            )
        order = rank(question.candidate_ids, question.scores)
        labels = dict(zip(question.candidate_ids, map(int, question.labels), strict=True))
        scores = dict(zip(question.candidate_ids, map(float, question.scores), strict=True))
        evaluator = pytrec_eval.RelevanceEvaluator({"question": labels}, set(_MEASURES))
        values = evaluator.evaluate({"question": scores})["question"]
        num_right = sum(labels.values())
        results.append(
            QuestionResult(
                question_id=question.question_id,
                num_right=num_right,
                num_wrong=len(labels) - num_right,
                right_ranks=tuple(
                    place for place, index in enumerate(order, start=1) if question.labels[index]
                ),
                average_precision=values["map"],
                reciprocal_rank=values["recip_rank"],
                precision_at_1=values["P_1"],
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
    with_right = [row for row in results if row.num_right]
    return with_right if protocol == "filtered" else [row for row in with_right if row.num_wrong]


def summarize(results: Sequence[QuestionResult], protocol: Protocol) -> Summary:
    """Means over the questions that count.

    Raises:
        ValueError: none counts.
    """
    rows = counted(results, protocol)
    if not rows:
        raise ValueError(f"expected questions that count as {protocol}, got none of {len(results)}")
    return Summary(
        metrics={
            "map": float(np.mean([row.average_precision for row in rows])),
            "mrr": float(np.mean([row.reciprocal_rank for row in rows])),
            "p_at_1": float(np.mean([row.precision_at_1 for row in rows])),
        },
        num_questions=len(rows),
        num_without_right=sum(not row.num_right for row in results),
        num_without_wrong=sum(not row.num_wrong for row in results),
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
    rows, rivals = counted(results, protocol), counted(others, protocol)
    if not rows or [row.question_id for row in rows] != [row.question_id for row in rivals]:
        raise ValueError(
            f"expected results of the same questions in one order, got {len(rows)} and "
            f"{len(rivals)}"
        )
    differences = np.array(
        [
            row.average_precision - rival.average_precision
            for row, rival in zip(rows, rivals, strict=True)
        ]
    )
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), num_samples)
    samples = draws @ differences / len(rows)
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Difference(float(differences.mean()), float(low), float(high), len(rows))
