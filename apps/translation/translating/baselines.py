"""Rivals without a network: the copied source, the nearest training pair, word for word.

Each is made of training pairs of one language direction, and translates texts.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from apps.translation.translating.validation import Texts

Rival = Callable[[Sequence[str]], list[str]]

_WORD = re.compile(r"\w+|[^\w\s]")
_NO_SPACES = ("ja", "zh", "th")  # languages whose words are here single characters
_ITERATIONS = 8


def translate(training: Texts, texts: Texts) -> dict[str, list[str]]:
    """What the rivals make of texts, by name; each language has its own."""
    written = {}
    for language in sorted(set(texts.languages)):
        known, places = (
            [n for n, code in enumerate(side.languages) if code == language]
            for side in (training, texts)
        )
        rivals = fit(*training.at(known)[:2], language)
        for name, rival in rivals.items():
            column = written.setdefault(name, [""] * len(texts.sources))
            for place, text in zip(places, rival(texts.at(places).sources), strict=True):
                column[place] = text
    return written


def fit(sources: Sequence[str], targets: Sequence[str], language: str) -> dict[str, Rival]:
    """The rivals by name, from training pairs into one language."""
    return {
        "copy": lambda texts: [*texts],
        "translation_memory": _memory(sources, targets),
        "word_for_word": _word_for_word(sources, targets, language),
    }


def _memory(sources: Sequence[str], targets: Sequence[str]) -> Rival:
    """The translation of the training source whose groups of letters are most alike.

    TF-IDF of two to five letters within words, by cosine; of equally near ones the first.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    known = vectorizer.fit_transform(sources)

    def translate(texts: Sequence[str]) -> list[str]:
        nearest: list[int] = []
        for first in range(0, len(texts), 256):
            likeness = vectorizer.transform(texts[first : first + 256]) @ known.T
            nearest += np.asarray(likeness.argmax(axis=1)).ravel().tolist()
        return [targets[place] for place in nearest]

    return translate


def _word_for_word(sources: Sequence[str], targets: Sequence[str], language: str) -> Rival:
    """Each word by its likeliest translation, in the order of the source.

    IBM model 1 (Brown et al. 1993, https://aclanthology.org/J93-2003): p(target | source) is a
    product over target words of the mean of t(target word | source word) over source words and an
    empty one; t is found by expectation maximisation.
    """
    by_character = language.split("-")[0] in _NO_SPACES
    split_target = _characters if by_character else _words
    source_rows = [_words(text) for text in sources]
    source_words = {
        word: n for n, word in enumerate(sorted({w for r in source_rows for w in r}), 1)
    }
    target_rows = [split_target(text) for text in targets]
    target_words = sorted({word for row in target_rows for word in row})
    place = {word: n for n, word in enumerate(target_words)}
    pairs, positions, count = [], [], 0
    for source, target in zip(source_rows, target_rows, strict=True):
        read = np.array([0, *(source_words[word] for word in source)])  # 0: the empty word
        written = np.array([place[word] for word in target], int)
        pairs.append((read[:, None] * len(target_words) + written).ravel())
        positions.append(np.broadcast_to(np.arange(len(target)) + count, (len(read), len(target))))
        count += len(target)
    joint, pair = np.unique(np.concatenate(pairs), return_inverse=True)
    position = np.concatenate([row.ravel() for row in positions])
    source_of, target_of = joint // len(target_words), joint % len(target_words)
    t = np.ones(len(joint))
    for _ in range(_ITERATIONS):
        weight = t[pair]
        share = weight / np.bincount(position, weight)[position]
        expected = np.bincount(pair, share)
        t = expected / np.bincount(source_of, expected)[source_of]
    order = np.argsort(t)  # the likeliest of each source word comes last
    best = {int(source_of[n]): target_words[target_of[n]] for n in order}
    glue = "" if by_character else " "

    def translate(texts: Sequence[str]) -> list[str]:
        rows = ([best.get(source_words.get(w, -1), w) for w in _words(t)] for t in texts)
        return [re.sub(r" (?=[,.;:!?])", "", glue.join(row)) for row in rows]

    return translate


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _characters(text: str) -> list[str]:
    return [character for character in text if not character.isspace()]
