"""What can be answered without an image: the commonest answers of training, counted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator


def score(training: Iterable[dict], held_back: Iterable[dict]) -> dict[str, float]:
    """The share of right answers of two blind guesses.

    "most common answer" is always that of all training questions; "most common answer to the
    question" that of the training questions with the same words, where there are any.

    Args:
        training, held_back: records of `data.load_split`, as tensors.
    """
    by_question: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for question, answer in _pairs(training):
        by_question[question][answer] += 1
    total = sum(by_question.values(), Counter())
    commonest = total.most_common(1)[0][0]
    best = {question: counts.most_common(1)[0][0] for question, counts in by_question.items()}
    pairs = list(_pairs(held_back))
    right = {
        "most common answer": sum(answer == commonest for _, answer in pairs),
        "most common answer to the question": sum(
            answer == best.get(question, commonest) for question, answer in pairs
        ),
    }
    return {name: count / len(pairs) for name, count in right.items()}


def _pairs(records: Iterable[dict]) -> Iterator[tuple[str, str]]:
    for record in records:
        both = zip(record["question"].numpy(), record["answer"].numpy(), strict=True)
        yield from ((question.decode(), answer.decode()) for question, answer in both)
