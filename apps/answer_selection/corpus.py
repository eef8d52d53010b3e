"""A folder of text files -> the sentences that may answer a question, found by BM25.

The index is kept and used again as long as the files stay as they are:

    CACHE/<folder>/state.json      fingerprint of the files; path and sentences of each
    CACHE/<folder>/sentences.txt   one a line
    CACHE/<folder>/bm25/           arrays and vocabulary of bm25s, nothing pickled
"""

import hashlib
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import bm25s
import numpy as np

from apps.answer_selection import baselines
from apps.answer_selection.sentences import split_sentences
from common.inputs import datasets
from common.runs import files
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")
logging.getLogger("bm25s").setLevel(logging.WARNING)  # else it tells of every step

SUFFIXES = (".txt", ".md", ".rst")
INDEX_VERSION = 1  # another one makes all indexes anew
MAX_FILE_BYTES = 64 * 2**20


class FoundSentence(NamedTuple):
    """A sentence of the corpus, the file it comes from and its BM25 score."""

    text: str
    path: Path
    score: float


class Corpus:
    """The indexed sentences of a folder."""

    def __init__(self, sentences: list[str], file_of: np.ndarray, paths: list[Path], index):
        self.sentences = sentences
        self.file_of = file_of  # int (sentences,), place in `paths`
        self.paths = paths
        self.index: bm25s.BM25 = index

    @classmethod
    def open(cls, folder: Path, *, cache_dir: Path | None = None) -> "Corpus":
        """Indexes the text files under `folder`, or reads the index made of them before.

        Args:
            folder: searched for files named as in `SUFFIXES`; hidden ones are left out.
            cache_dir: where indexes are kept; the user's cache folder by default.

        Raises:
            UserError: no such folder, no text in it, or over 1 % of the files are not UTF-8.
        """
        paths = _text_files(folder)
        state = f"{INDEX_VERSION}-{datasets.fingerprint(paths)}"
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        kept = (cache_dir or _user_cache()) / name
        corpus = cls._load(kept, state)
        if corpus is None:
            corpus = cls._make(folder, paths)
            corpus._save(kept, state)
            logger.info(
                "%s: indexed %d sentences of %d files", folder, len(corpus.sentences), len(paths)
            )
        return corpus

    def find(self, question: str, *, most: int) -> list[FoundSentence]:
        """The `most` sentences with the highest BM25 score, best first.

        Sentences that share no word with the question are left out, so there may be none.
        """
        asked = self.index.get_tokens_ids(baselines.words(question))
        scores = self.index.get_scores_from_ids(asked)  # float32 (sentences,)
        best = np.argsort(-scores, kind="stable")[:most]
        return [
            FoundSentence(self.sentences[place], self.paths[self.file_of[place]], float(score))
            for place, score in zip(best, scores[best], strict=True)
            if score > 0
        ]

    @classmethod
    def _make(cls, folder: Path, paths: list[Path]) -> "Corpus":
        broken = datasets.BrokenRows(str(folder))
        first_file: dict[str, int] = {}  # a sentence that comes again would fill the answers
        for number, path in enumerate(paths):
            text, problem = _read(path)
            if broken.use(str(path), problem):
                for sentence in split_sentences(text):
                    if baselines.words(sentence):
                        first_file.setdefault(sentence, number)
        broken.check()
        if broken.skipped:
            logger.info("%d files skipped: %s", len(broken.skipped), "; ".join(broken.skipped[:5]))
        if not first_file:
            raise UserError(f"expected text in the files of {folder}, found no word: add text")
        index = bm25s.BM25(k1=baselines.K1, b=baselines.B)
        index.index(
            [baselines.words(sentence) for sentence in first_file],
            show_progress=sys.stderr.isatty(),
        )
        return cls(list(first_file), np.fromiter(first_file.values(), int), paths, index)

    def _save(self, kept: Path, state: str) -> None:
        with files.replacing(kept) as folder:
            folder.mkdir()
            (folder / "sentences.txt").write_text(_lines(self.sentences), encoding="utf-8")
            self.index.save(folder / "bm25", show_progress=False)
            counts = np.bincount(self.file_of, minlength=len(self.paths)).tolist()
            listed = [[str(path), count] for path, count in zip(self.paths, counts, strict=True)]
            files.write_json(folder / "state.json", {"state": state, "files": listed})

    @classmethod
    def _load(cls, kept: Path, state: str) -> "Corpus | None":
        """The index as kept; None where there is none for this state of the files."""
        try:
            stored = files.read_json(kept / "state.json")
            if stored["state"] != state:
                return None
            sentences = (kept / "sentences.txt").read_text(encoding="utf-8").split("\n")[:-1]
            index = bm25s.BM25.load(kept / "bm25", show_progress=False)
            paths, counts = zip(*stored["files"], strict=True)
            file_of = np.repeat(np.arange(len(paths)), counts)
            if not len(sentences) == len(file_of) == index.scores["num_docs"]:
                return None
        except (UserError, OSError, ValueError, KeyError, TypeError):
            return None  # absent or damaged: it is made again
        return cls(sentences, file_of, [Path(path) for path in paths], index)


def _text_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"expected a folder of text files, found none at {folder}: give one")
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise UserError(
            f"expected files named {', '.join(f'*{one}' for one in SUFFIXES)} in {folder}, "
            "found none: give a folder of text files"
        )
    return found


def _read(path: Path) -> tuple[str, str | None]:
    """The text of a file, and why it cannot be used."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        return "", f"{size:,} bytes, over {MAX_FILE_BYTES:,}: divide it"
    try:
        return path.read_bytes().decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        return "", f"expected UTF-8 text, got other bytes at {error.start}: save it as UTF-8"


def _lines(sentences: Iterable[str]) -> str:
    return "".join(f"{sentence}\n" for sentence in sentences)


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cellstate" / "corpora"
