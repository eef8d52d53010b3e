"""MAP, MRR and P@1 as trec_eval gives them, which questions count, and how sure a difference is.

The scores come from trec_eval itself (pytrec-eval-terrier). It holds scores in single precision
and ranks equal ones by falling candidate id, as strings. Ids must therefore not depend on the
labels, or a scorer that gives every candidate the same score gains from it; datasets.py makes them
by a hash.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pytrec_eval

from apps.answer_selection.config import Protocol
from common.runs.errors import UserError

_MEASURES = {"map": "map", "mrr": "recip_rank", "p_at_1": "P_1"}  # our name: trec_eval's


class Ranked(NamedTuple):
    """A question whose candidates were scored."""

    question_id: str
    candidate_ids: Sequence[str]  # distinct
    labels: Sequence[int]
    scores: Sequence[float]


class QuestionResult(NamedTuple):
    """How one question was ranked."""

    question_id: str
    num_right: int
    num_wrong: int
    right_ranks: tuple[int, ...]  # from 1, rising
    metrics: dict[str, float]  # map, mrr, p_at_1


def score_questions(questions: Iterable[Ranked]) -> list[QuestionResult]:
    """Scores each question by itself; one without a right candidate has zeros."""
    results = []
    for question_id, candidate_ids, labels, scores in questions:
        single = np.asarray(scores, "float32").tolist()
        order = sorted(zip(single, candidate_ids, labels, strict=True), reverse=True)
        relevant = dict(zip(candidate_ids, map(int, labels), strict=True))
        run = dict(zip(candidate_ids, map(float, scores), strict=True))
        evaluator = pytrec_eval.RelevanceEvaluator({"q": relevant}, set(_MEASURES.values()))
        values = evaluator.evaluate({"q": run})["q"]
        ranks = tuple(place for place, (_, _, label) in enumerate(order, start=1) if label)
        figures = {name: values[measure] for name, measure in _MEASURES.items()}
        num_wrong = len(labels) - len(ranks)
        results.append(QuestionResult(question_id, len(ranks), num_wrong, ranks, figures))
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


def summarize(results: Sequence[QuestionResult], protocol: Protocol) -> dict[str, float]:
    """Means over the questions that count: map, mrr, p_at_1.

    Raises:
        UserError: none counts.
    """
    rows = counted(results, protocol)
    if not rows:
        raise UserError(
            f"expected questions that the protocol {protocol} counts, found none of "
            f"{len(results)}: choose --data.protocol raw"
        )
    return {name: float(np.mean([row.metrics[name] for row in rows])) for name in _MEASURES}


def map_difference(
    results: Sequence[QuestionResult], others: Sequence[QuestionResult], protocol: Protocol
) -> dict[str, float]:
    """How much better the MAP of a scorer is than that of another on the same questions.

    Questions are drawn with replacement, both scorers' results of a question together (Sakai 2006,
    https://doi.org/10.1145/1148170.1148261); the interval holds the middle 95 % of the differences.
    A difference whose interval holds 0 may be chance.
    """
    pairs = zip(counted(results, protocol), counted(others, protocol), strict=True)
    differences = np.array([row.metrics["map"] - rival.metrics["map"] for row, rival in pairs])
    count = len(differences)
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), 10_000)
    low, high = np.quantile(draws @ differences / count, [0.025, 0.975]).tolist()
    return {"difference": float(differences.mean()), "95 % from": low, "to": high}
