"""Which questions go wrong: the ranks that `evaluate` wrote, and questions by kind."""

import csv
from collections.abc import Iterable
from pathlib import Path

from apps.answer_selection import baselines


def read_ranks(run_path: Path, split: str) -> dict[str, dict[str, int]]:
    """question_id -> scorer -> the rank of the first right candidate, from 1.

    Of questions-<split>.csv, without questions that have no right candidate.
    """
    with (run_path / f"questions-{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["right"])]
    scorers = [name for name in rows[0] if name not in ("question_id", "right", "wrong")]
    return {
        row["question_id"]: {name: int(row[name].split()[0]) for name in scorers} for row in rows
    }


def by_kind(records: Iterable[dict]) -> dict[str, list[str]]:
    """Ids of questions with a right candidate, by what may make them hard.

    Whether a right candidate shares a word with the question, and how many candidates there are.

    Args:
        records: of `data.load_split`, as NumPy.
    """
    sizes = {"up to 5 candidates": 5, "6 to 9 candidates": 9, "10 candidates and more": None}
    kinds: dict[str, list[str]] = {"a word is shared": [], "no word is shared": []}
    kinds |= {name: [] for name in sizes}
    for record in records:
        pairs = zip(record["candidates"], record["labels"], strict=True)
        right = [text.decode() for text, label in pairs if label]
        if not right:
            continue
        name, question = record["question_id"].decode(), record["question"].decode()
        shared = baselines.word_overlap(question, right).max() > 0
        kinds[f"{'a' if shared else 'no'} word is shared"].append(name)
        count = len(record["candidates"])
        size = next(kind for kind, most in sizes.items() if most is None or count <= most)
        kinds[size].append(name)
    return kinds
