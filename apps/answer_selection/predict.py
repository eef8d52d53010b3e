"""Ranks sentences by how well they answer a question, with a trained run.

python -m apps.answer_selection.predict --run-dir runs/qa --question "..." --passages text.txt
"""

import json as json_module
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.answer_selection.config import APP, Config
from common.runs import cli
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")

AT_ONCE = 256  # candidates scored in one call; bounds the memory
RETRIEVED = 100  # sentences of a corpus that BM25 hands to the model


class Sentence(NamedTuple):
    """One candidate with its score, and the file it comes from; a higher score answers better."""

    text: str
    score: float
    path: str | None = None


class Ranking(NamedTuple):
    """What the model says about a question and its candidates.

    Attributes:
        sentences: best first.
        model_seconds: time of the network and of splitting into words, without loading.
    """

    sentences: list[Sentence]
    model_seconds: float


class Explanation(NamedTuple):
    """Why a candidate has its score.

    Attributes:
        question_words, candidate_words: as the model reads them.
        attention: float32 (candidate_words,), summing to 1: the words that counted.
        alignment: float32 (question_words, candidate_words).
    """

    question_words: list[str]
    candidate_words: list[str]
    attention: np.ndarray
    alignment: np.ndarray


class Predictor:
    """A loaded run, to ask as often as one likes."""

    def __init__(self, ranker):
        self.ranker = ranker
        # TensorFlow optimises a graph at its first call: now, not at the first question.
        self.rank("warm up", ["warm", "up"])

    @classmethod
    def load(cls, run_dir: Path) -> "Predictor":
        """Loads the best model of a run.

        Raises:
            UserError: no run of this app, or its model is missing or damaged.
        """
        return cls(load_ranker(run_dir))

    def rank(self, question: str, candidates: Sequence[str]) -> Ranking:
        """Orders `candidates` by how well they answer `question`; equal texts score the same.

        Raises:
            UserError: there is no candidate, or a text has no word.
        """
        import tensorflow as tf

        from apps.answer_selection import scoring
        from common.inputs import pipeline

        if not candidates:
            raise UserError("expected at least one candidate sentence, got none: give more text")
        self._check([question], "question")
        self._check(candidates, "candidate")
        begun = time.monotonic()
        parts = [
            self.ranker.read(tf.constant(question), tf.constant(list(some)))
            for some in pipeline.chunks(candidates, AT_ONCE)
        ]
        scores = np.asarray(self.ranker.agree(**scoring.join(parts))).tolist()
        seconds = time.monotonic() - begun
        order = np.argsort(np.negative(scores), kind="stable")
        return Ranking([Sentence(candidates[place], scores[place]) for place in order], seconds)

    def explain(self, question: str, candidate: str) -> Explanation:
        """Which words of question and candidate go together, and which of them counted.

        Raises:
            UserError: a text has no word.
        """
        import tensorflow as tf

        asked = self._check([question], "question")[0]
        given = self._check([candidate], "candidate")[0]
        found = self.ranker.explain(tf.constant(question), tf.constant(candidate))
        attention, alignment = found["attention"].numpy(), found["alignment"].numpy()
        return Explanation(asked[: len(alignment)], given[: len(attention)], attention, alignment)

    def _check(self, texts: Sequence[str], name: str) -> list[list[str]]:
        """The words of each text; a note where they are too many for the model."""
        import tensorflow as tf

        from apps.answer_selection import features

        found = features.words(tf.constant(list(texts))).to_list()
        most = self.ranker.max_words[name]
        for text, words in zip(texts, found, strict=True):
            if not words:
                raise UserError(f"expected a {name} of at least one word, got {text[:40]!r}")
        longest = max(map(len, found))
        if longest > most:
            logger.warning("note: reads the first %d of %d words of a %s", most, longest, name)
        return [[word.decode() for word in words] for words in found]


def load_ranker(run_dir: Path):
    """The inference part of a run: raw strings in, scores out (model.Ranker)."""
    from apps.answer_selection import model  # noqa: F401  (it registers its layers)
    from common.inputs.text import Vocabulary

    run = RunDirectory.open(run_dir, app=APP)
    words = Vocabulary.load(run.path / "vocab_words.txt")
    return make_ranker(run.load_model(), words, run.read_config(Config))


def make_ranker(model, words, config: Config):
    """The inference part (model.Ranker) of a network."""
    from apps.answer_selection.model import Ranker

    return Ranker(
        model,
        words,
        num_buckets=config.data.hash_buckets,
        max_question_words=config.data.max_question_words,
        max_candidate_words=config.data.max_candidate_words,
        agreement_weight=config.model.agreement,
    )


def read_sentences(path: Path) -> dict[str, str]:
    """The sentences of a UTF-8 text file, or of standard input for `-`, each with its file.

    Sentences without a word are left out; one that comes again counts once.

    Raises:
        UserError: no such file, or it is not UTF-8.
    """
    from apps.answer_selection.sentences import split_sentences

    if str(path) != "-" and not path.is_file():
        raise UserError(f"expected a text file for --passages, found none at {path}")
    encoded = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    try:
        text = encoded.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: expected UTF-8 text, got other bytes ({error.reason} at byte "
            f"{error.start}): save the file as UTF-8"
        ) from None
    kept = (one for one in split_sentences(text) if any(letter.isalnum() for letter in one))
    return dict.fromkeys(kept, str(path))


def find(question: str, folder: Path) -> dict[str, str]:
    """The sentences of a folder of texts that BM25 finds best for a question, each with its file.

    Raises:
        UserError: no such folder, no text in it, or no word of the question occurs in it.
    """
    from apps.answer_selection.corpus import Corpus

    found = Corpus.open(folder).find(question, most=RETRIEVED)
    if not found:
        raise UserError(
            f"expected a word of the question in the texts of {folder}, found none: ask otherwise"
        )
    return {one.text: str(one.path) for one in found}


def main(
    *,
    run_dir: Path,
    question: str,
    passages: Path | None = None,
    corpus: Path | None = None,
    top: int = 5,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Ranks the sentences of a text by how well they answer a question.

    Args:
        run_dir: Folder that `train` wrote.
        question: In the language of the training questions.
        passages: Text file, split into sentences; - reads standard input.
        corpus: Folder of text files; the model ranks the 100 sentences that BM25 finds.
        top: Print so many sentences.
        plot: Write a picture of which words of the best sentence counted, e.g. out.png.
        json: Print one JSON object, with all sentences.
    """
    if (passages is None) == (corpus is None):
        given = "none" if passages is None else "two"
        raise UserError(
            f"expected a text to look in, got {given}: give --passages FILE or --corpus DIR"
        )
    RunDirectory.open(run_dir, app=APP)  # before a large text is read
    found_in = read_sentences(passages) if passages is not None else find(question, corpus)
    predictor = Predictor.load(run_dir)
    ranking = predictor.rank(question, list(found_in))
    sentences = [one._replace(path=found_in[one.text]) for one in ranking.sentences]
    if plot is not None:
        from apps.answer_selection import plots

        best = sentences[0].text
        explained = predictor.explain(question, best)
        plots.attention_over_words(*explained, title=f"{question}  ->  {best}", path=plot)
    if json:
        found = {
            "question": question,
            "sentences": [one._asdict() for one in sentences],
            "model_seconds": ranking.model_seconds,
        }
        print(json_module.dumps(found, ensure_ascii=False))
        return
    for one in sentences[:top]:
        print(f"{one.score:8.3f}  {one.text}" + (f"  [{one.path}]" if corpus else ""))


if __name__ == "__main__":
    cli.run(main, app=APP)
