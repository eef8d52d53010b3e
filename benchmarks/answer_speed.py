"""Times a trained run of answer selection: pairs a second, one question, a folder of texts.

    python -m benchmarks.answer_speed --run-dir runs/qa

All through the exported SavedModel and the `Predictor` of `predict --corpus`, warm: medians over
the rounds. The texts are sentences of the run's own training data, halves of two joined, so that
there are as many as asked for.
"""

import datetime
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import commands
from common.runs import cli, files

BATCH, CANDIDATES, RETRIEVED_FROM = 256, 30, 100_000
FILES = 100


def main(*, run_dir: Path, rounds: int = 15) -> None:
    """Prints the figures and writes results/answer_speed.json.

    Args:
        run_dir: Folder that `train` wrote.
        rounds: Timed turns of each; two more come before them.
    """
    cli.start_tensorflow_quietly()
    import tensorflow as tf

    from apps.answer_selection import export, predict
    from apps.answer_selection.ranking import retrieval

    sentences, questions = _texts(run_dir)
    environment = files.read_json(run_dir / "environment.json")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saved = tf.saved_model.load(str(export.export(run_dir, folder / "saved_model")))
        score, rank = (saved.signatures[one] for one in ("serving_default", "rank"))
        pairs = {
            "question": tf.constant((questions * BATCH)[:BATCH]),
            "candidate": tf.constant(sentences[:BATCH]),
        }
        one = {
            "question": tf.constant(questions[0]),
            "candidates": tf.constant(sentences[:CANDIDATES]),
        }
        (folder / "texts").mkdir()
        for number in range(FILES):
            text = "\n\n".join(sentences[number::FILES])
            (folder / "texts" / f"{number}.txt").write_text(text, encoding="utf-8")
        begun = time.monotonic()
        index = retrieval.Index(folder / "texts")
        indexing = time.monotonic() - begun
        predictor = predict.Predictor.load(run_dir)

        def answer(question: str) -> None:
            predictor.rank(question, list(index.search(question)))

        asked = iter(questions * (1 + (rounds + 2) // len(questions)))
        report = {
            "date": datetime.date.today().isoformat(),
            "git_commit": environment["git_commit"],
            "machine": f"{environment['cpu_count']} CPU cores",
            "pairs_per_second": round(BATCH / _median(lambda: score(**pairs), rounds)),
            "rank_30_milliseconds": round(1000 * _median(lambda: rank(**one), rounds), 2),
            "corpus_sentences": len(index.paths),
            "corpus_index_seconds": round(indexing, 2),
            "corpus_question_seconds": round(_median(lambda: answer(next(asked)), rounds), 3),
        }
    files.write_json(commands.RESULTS / "answer_speed.json", report)
    print(report)


def _median(call: Callable[[], object], rounds: int) -> float:
    """Seconds of a call; the first two warm up."""
    seconds = []
    for _ in range(rounds + 2):
        begun = time.monotonic()
        call()
        seconds.append(time.monotonic() - begun)
    return statistics.median(seconds[2:])


def _texts(run_dir: Path) -> tuple[list[str], list[str]]:
    """As many distinct sentences as wanted, and some questions that are asked about them."""
    from apps.answer_selection import data
    from apps.answer_selection.config import Config
    from common.runs.directory import RunDirectory

    config = RunDirectory.open(run_dir, app="answer_selection").read_config(Config)
    records: list[Any] = list(data.load_split(config.data, "train").take(2000).as_numpy_iterator())
    texts = list(dict.fromkeys(text.decode() for one in records for text in one["candidates"]))
    random = np.random.default_rng(0)
    made: dict[str, None] = {}
    while len(made) < RETRIEVED_FROM:
        two = random.integers(len(texts), size=2)
        first, second = (texts[place].rstrip(".").split() for place in two)
        halves = [*first[: len(first) // 2 + 1], *second[len(second) // 2 :]]
        made[" ".join(halves) + "."] = None
    return list(made), [one["question"].decode() for one in records[:20]]


if __name__ == "__main__":
    tyro.cli(main)
