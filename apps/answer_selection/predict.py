"""Ranks sentences by how well they answer a question, with a trained run.

python -m apps.answer_selection.predict --run-dir runs/qa --question "..." --passages text.txt
"""

import json as json_module
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.answer_selection.config import APP
from common.runs import cli
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")

AT_ONCE = 256  # candidates scored in one call; bounds the memory
NUM_DRAWN = 5  # sentences on a picture


class Sentence(NamedTuple):
    """One candidate.

    Attributes:
        text: as given.
        score: orders the candidates of a question; with the agreement of the others, if the model
            has it.
        probability: that it answers the question, by the network alone: the sigmoid of its score.
        path: the file it comes from.
    """

    text: str
    score: float
    probability: float
    path: str | None = None


class Predictor:
    """A loaded run, to ask as often as one likes."""

    def __init__(self, ranker):
        from common.lstm.layer import machine_code

        self.ranker = ranker  # model.Ranker
        with machine_code():
            ranker.network.get_concrete_function()

    @classmethod
    def load(cls, run_dir: Path) -> "Predictor":
        """Loads the best model of a run.

        Raises:
            UserError: no run of this app, or its model is missing or damaged.
        """
        from apps.answer_selection.model import load_inference

        return cls(load_inference(run_dir))

    def rank(self, question: str, candidates: Sequence[str]) -> list[Sentence]:
        """Orders `candidates` by how well they answer `question`; equal texts score the same.

        Raises:
            UserError: there is no candidate, or a text has no word.
        """
        import tensorflow as tf

        from apps.answer_selection.ranking import agreement, tokenizer
        from common.inputs import pipeline

        if not candidates:
            raise UserError("expected at least one candidate sentence, got none: give more text")
        for name, texts in (("question", [question]), ("candidate", candidates)):
            lengths = tokenizer.words(tf.constant(texts)).row_lengths().numpy()
            if not lengths.all():
                text = texts[lengths.argmin()]
                raise UserError(f"expected a {name} of at least one word, got {text[:40]!r}")
            longest, most = lengths.max(), self.ranker.max_words[name]
            if longest > most:
                logger.warning("note: reads the first %d of %d words of a %s", most, longest, name)
        parts = []
        for chunk in pipeline.chunks(candidates, AT_ONCE):
            outputs = self.ranker.read(tf.constant(question), tf.constant(chunk))
            parts.append({name: value.numpy() for name, value in outputs.items()})
        scores = agreement.final_scores(parts, self.ranker.agreement_weight)
        probabilities = tf.sigmoid(np.concatenate([part["score"] for part in parts])).numpy()
        rows = zip(candidates, scores.tolist(), probabilities.tolist(), strict=True)
        return sorted((Sentence(*row) for row in rows), key=lambda row: row.score, reverse=True)

    def explain(self, question: str, candidate: str) -> list[tuple[str, float]]:
        """The words of a candidate as given, each with its share in the score.

        The shares sum to 1. Words beyond those that the model reads have the share 0.
        """
        import tensorflow as tf

        from apps.answer_selection.ranking import tokenizer

        outputs = self.ranker(tf.constant([question]), tf.constant([candidate]))
        return tokenizer.shares_as_given(candidate, outputs["attention"][0].numpy())

    def draw(self, question: str, sentences: Iterable[Sentence], path: Path) -> None:
        """Draws sentences, best first, with the words that counted.

        Raises:
            UserError: the suffix of `path` is none that can be drawn.
        """
        from apps.answer_selection.ranking import plots

        rows = [
            (f"{rank}. {row.probability:7.1%}", self.explain(question, row.text))
            for rank, row in enumerate(sentences, start=1)
        ]
        plots.labelled_texts(rows, title=question, path=path)


def make_samples(ranker, records: Iterable[dict]):
    """What TensorBoard shows: the candidates of some questions as a network in training ranks them.

    Args:
        ranker: `model.Ranker` of the network.
        records: of `data.load_split`, as NumPy.
    """
    from common.training.logging import Sample

    predictor, records = Predictor(ranker), list(records)

    def show(folder: Path) -> Iterator[Sample]:
        for number, record in enumerate(records):
            question = record["question"].decode()
            candidates = [text.decode() for text in record["candidates"]]
            sentences = predictor.rank(question, candidates)[:NUM_DRAWN]
            labels = dict(zip(candidates, record["labels"], strict=True))
            lines = [
                f"{rank}. {row.text}{' **(right)**' if labels[row.text] else ''}"
                for rank, row in enumerate(sentences, start=1)
            ]
            path = folder / f"{number}.png"
            predictor.draw(question, sentences, path)
            yield Sample("\n".join([f"{question}\n", *lines]), path)

    return show


def main(
    *,
    run_dir: Path,
    question: str,
    passages: Path | None = None,
    corpus: Path | None = None,
    top: int = 5,
    plot: cli.OutputFile = None,
    json: bool = False,
) -> None:
    """Ranks the sentences of a text by how well they answer a question.

    Prints rank and probability: that the sentence answers the question, by the network alone.

    Args:
        run_dir: Folder that `train` wrote.
        question: In the language of the training questions.
        passages: Text file, split into sentences; - reads standard input.
        corpus: Folder of text files; the model ranks the 100 sentences that BM25 finds.
        top: Print so many sentences.
        plot: Write a picture of which words of the best sentences counted, e.g. out.png.
        json: Print one JSON object, with all sentences.
    """
    source = passages or corpus
    if source is None or (passages and corpus):
        raise UserError("expected either --passages FILE or --corpus DIR: give one of them")
    RunDirectory.open(run_dir, app=APP)  # before a large text is read
    from apps.answer_selection.ranking import retrieval

    if corpus:
        paths = retrieval.Index(source).search(question)
    else:
        paths = dict.fromkeys(retrieval.read_sentences(source), source)
    predictor = Predictor.load(run_dir)
    sentences = [
        row._replace(path=str(paths[row.text])) for row in predictor.rank(question, list(paths))
    ]
    if json:
        answer = {"question": question, "sentences": [row._asdict() for row in sentences]}
        print(json_module.dumps(answer, ensure_ascii=False))
    else:
        for rank, row in enumerate(sentences[:top], start=1):
            source = f"  [{row.path}]" if corpus else ""
            print(f"{rank:3}. {row.probability:6.1%}  {row.text}{source}")
    if plot is not None:
        predictor.draw(question, sentences[:NUM_DRAWN], plot)


if __name__ == "__main__":
    cli.run(main, app=APP)
