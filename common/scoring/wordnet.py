"""Wu-Palmer similarity of two words over WordNet's nouns: (word, word) -> float in [0, 1].

Needs nltk and the noun files of WordNet 3.0. Both are optional: without them there is no
similarity, and reports omit WUPS.
"""

import functools
import io
import itertools
import warnings
from collections.abc import Callable
from pathlib import Path

from common.runs.errors import UserError

_DEBIAN_WORDNET = Path("/usr/share/wordnet")  # apt package wordnet-base
_NOUN_FILES = ("index.noun", "data.noun", "noun.exc")
_NUM_LEXNAMES = 45


def load_wordnet_similarity(folder: Path | None = None) -> Callable[[str, str], float] | None:
    """Returns the Wu-Palmer similarity of two words, in [0, 1], or None without nltk or WordNet.

    similarity = 2 depth(c) / (depth(a) + depth(b)), c the deepest common ancestor, maximised over
    all noun senses a, b of the two words (Wu & Palmer 1994, https://doi.org/10.3115/981732.981751),
    by nltk's implementation. As in DAQUAR's script: only nouns, plurals find their singular,
    "coffee_maker" finds its entry but "coffee maker" does not, a word that WordNet lacks has
    similarity 0, and equal words have 1 even then.

    Args:
        folder: holds WordNet's `data.noun`, `index.noun` and `noun.exc`. None looks in nltk's own
            data folders, then where Debian's package wordnet-base puts them.

    Raises:
        UserError: `folder` lacks one of the files.
    """
    if folder is not None:
        for name in _NOUN_FILES:
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder / name}: expected this file of WordNet 3.0, found none; "
                    "give the folder that holds it (Debian: apt-get install wordnet-base)"
                )
    reader = _open_nouns(folder)
    if reader is None:
        return None

    def senses(word: str):
        return [sense for sense in reader.synsets(word, pos="n") if sense is not None]

    @functools.cache
    def similarity(first: str, second: str) -> float:
        if first == second:
            return 1.0
        pairs = itertools.product(senses(first), senses(second))
        return max((noun.wup_similarity(other) or 0.0 for noun, other in pairs), default=0.0)

    return similarity


def _open_nouns(folder: Path | None):
    """Returns nltk's WordNet reader over the folder or an installed WordNet, or None."""
    try:
        import nltk.data
        from nltk.corpus.reader.wordnet import WordNetCorpusReader
    except ImportError:
        return None

    class NounReader(WordNetCorpusReader):
        """Reads the noun files only: quick, and content with folders that lack the others."""

        def open(self, file: str):
            if file in _NOUN_FILES:
                return super().open(file)
            if file == "lexnames":  # Debian ships none, nltk insists; the names do not matter here
                return io.StringIO("".join(f"{i:02d} file{i} 1\n" for i in range(_NUM_LEXNAMES)))
            return io.StringIO()

        def map_wn(self, version: str = "wordnet"):
            return None  # for other languages; needs index.sense, which Debian lacks

    try:
        root = folder or nltk.data.find("corpora/wordnet/")  # the slash: zipped as well
    except LookupError:
        if not all((_DEBIAN_WORDNET / name).is_file() for name in _NOUN_FILES):
            return None
        root = _DEBIAN_WORDNET
    if isinstance(root, Path):
        root = str(root.resolve())
        if root not in nltk.data.path:
            nltk.data.path.append(root)  # nltk opens nothing outside the folders listed there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nltk: "multilingual functions are not available"
        return NounReader(root, None)
