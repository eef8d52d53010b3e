"""Sentences that may answer a question: those of a text, or those that BM25 finds in a folder."""

import logging
import sys
from pathlib import Path

import bm25s
import numpy as np

from apps.answer_selection.corpora.sentence_splitter import split_sentences
from apps.answer_selection.ranking import baselines
from common.runs import files
from common.runs.errors import UserError

logging.getLogger("bm25s").setLevel(logging.WARNING)  # else it logs every step

RETRIEVED = 100  # sentences of a folder that BM25 hands to the model
SUFFIXES = (".txt", ".md", ".rst")


def read_sentences(path: Path) -> list[str]:
    """The sentences of a UTF-8 text file, or of standard input for `-`.

    Sentences without a word are left out; one that comes again counts once.

    Raises:
        UserError: no such file, or it is not UTF-8.
    """
    if str(path) == "-":
        text = files.decode_text(sys.stdin.buffer.read(), "standard input")
    else:
        text = files.read_text(path)
    return list(dict.fromkeys(filter(baselines.words, split_sentences(text))))


class Index:
    """The sentences of the text files under a folder, in memory, to search.

    Args:
        folder: searched for files named as in `SUFFIXES`.

    Raises:
        UserError: there is no text in it, or a file is not UTF-8.
    """

    def __init__(self, folder: Path):
        self.paths: dict[str, Path] = {}  # by sentence: one that comes again is kept once
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                try:
                    for sentence in read_sentences(path):
                        self.paths.setdefault(sentence, path)
                except UserError as error:
                    if not isinstance(error.__context__, OSError):
                        raise
                    logging.getLogger("cellstate").warning("note: leaves it out: %s", error)
        if not self.paths:
            kinds = ", ".join(SUFFIXES)
            raise UserError(f"expected text in files {kinds} of {folder}, found none: add some")
        self.bm25 = bm25s.BM25(k1=baselines.K1, b=baselines.B)
        self.bm25.index(list(map(baselines.words, self.paths)), show_progress=sys.stderr.isatty())

    def search(self, question: str, *, most: int = RETRIEVED) -> dict[str, Path]:
        """The `most` sentences with the highest BM25 score, best first, each with its file.

        Raises:
            UserError: no sentence shares a word with the question.
        """
        scores = self.bm25.get_scores_from_ids(self.bm25.get_tokens_ids(baselines.words(question)))
        if not scores.any():
            raise UserError("expected a word of the question in the texts, found none")
        sentences = list(self.paths.items())
        best = np.argsort(-scores, kind="stable")[:most]
        return dict(sentences[row] for row in best if scores[row] > 0)
