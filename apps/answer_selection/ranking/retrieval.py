"""Sentences that may answer a question: those of a text, or those that BM25 finds in a folder."""

import logging
import sys
from pathlib import Path
from typing import NamedTuple

import bm25s
import numpy as np

from apps.answer_selection.corpora.sentence_splitter import split_sentences
from apps.answer_selection.ranking import baselines
from common.inputs import datasets
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")
logging.getLogger("bm25s").setLevel(logging.WARNING)  # else it logs every step

RETRIEVED = 100  # sentences of a folder that BM25 hands to the model
SUFFIXES = (".txt", ".md", ".rst")
MAX_FILE_BYTES = 64 * 2**20


def read_sentences(path: Path) -> list[str]:
    """The sentences of a UTF-8 text file, or of standard input for `-`.

    Sentences without a word are left out; one that comes again counts once.

    Raises:
        UserError: no such file, or it is not UTF-8.
    """
    if str(path) != "-" and not path.is_file():
        raise UserError(f"expected a text file for --passages, found none at {path}: give one")
    encoded = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    text, problem = _decode(encoded)
    if problem is not None:
        raise UserError(f"{path}: {problem}")
    return list(dict.fromkeys(filter(baselines.words, split_sentences(text))))


def search_folder(question: str, folder: Path) -> dict[str, str]:
    """The sentences of a folder of texts that BM25 finds best for a question, each with its file.

    Raises:
        UserError: no such folder, no text in it, or no word of the question occurs in it.
    """
    hits = Index(folder).search(question, most=RETRIEVED)
    if not hits:
        raise UserError(
            f"expected a word of the question in the texts of {folder}, found none: ask otherwise"
        )
    return {hit.text: str(hit.path) for hit in hits}


class Hit(NamedTuple):
    """A sentence, the file it comes from and its BM25 score."""

    text: str
    path: Path
    score: float


class Index:
    """The sentences of the text files under a folder, in memory, to search.

    Args:
        folder: searched for files named as in `SUFFIXES`; hidden ones are left out.

    Raises:
        UserError: no such folder, no text in it, or over 1 % of the files are not UTF-8.
    """

    def __init__(self, folder: Path):
        broken = datasets.BrokenRows(str(folder))
        self.paths: dict[str, Path] = {}  # by sentence: one that comes again is kept once
        for path in _text_files(folder):
            size = path.stat().st_size
            problem = f"{size:,} bytes, over {MAX_FILE_BYTES:,}: divide it"
            text = ""
            if size <= MAX_FILE_BYTES:
                text, problem = _decode(path.read_bytes())
            if broken.use(str(path), problem):
                for sentence in filter(baselines.words, split_sentences(text)):
                    self.paths.setdefault(sentence, path)
        broken.check()
        if broken.skipped:
            logger.info("%d files skipped: %s", len(broken.skipped), "; ".join(broken.skipped[:5]))
        if not self.paths:
            raise UserError(f"expected text in the files of {folder}, found no word: add text")
        self.sentences = list(self.paths)
        self.bm25 = bm25s.BM25(k1=baselines.K1, b=baselines.B)
        self.bm25.index(
            [baselines.words(sentence) for sentence in self.sentences],
            show_progress=sys.stderr.isatty(),
        )

    def search(self, question: str, *, most: int) -> list[Hit]:
        """The `most` sentences with the highest BM25 score, best first.

        Sentences that share no word with the question are left out, so there may be none.
        """
        scores = self.bm25.get_scores_from_ids(self.bm25.get_tokens_ids(baselines.words(question)))
        best = np.argsort(-scores, kind="stable")[:most]
        hits = ((self.sentences[row], float(scores[row])) for row in best if scores[row] > 0)
        return [Hit(sentence, self.paths[sentence], score) for sentence, score in hits]


def _text_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"expected a folder of text files, found none at {folder}: give one")
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not paths:
        raise UserError(
            f"expected files named {', '.join(f'*{suffix}' for suffix in SUFFIXES)} in {folder}, "
            "found none: give a folder of text files"
        )
    return paths


def _decode(encoded: bytes) -> tuple[str, str | None]:
    """A text, and why it cannot be used."""
    try:
        return encoded.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        return "", (
            f"expected UTF-8 text, got other bytes ({error.reason} at byte {error.start}): "
            "save the file as UTF-8"
        )
