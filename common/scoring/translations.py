"""Scores of translations as sacrebleu gives them (Post 2018, https://arxiv.org/abs/1804.08771)."""

import re
import statistics
from collections.abc import Sequence

_TWICE = re.compile(r"(?<!\S)(\S+(?: \S+){0,3}) \1(?!\S)")  # one to four words, again
_TOKENIZERS = {"zh": "zh", "ja": "char", "ko": "char", "th": "char"}  # by the language of the text


def score(
    written: Sequence[str], references: Sequence[str], languages: Sequence[str]
) -> dict[str, float]:
    """Corpus scores, as fractions; of several languages the mean over languages.

    `bleu` is cased (Papineni et al. 2002, https://aclanthology.org/P02-1040), `bleu_lower` of text
    in small letters, `chrf` of Popović (2015, https://aclanthology.org/W15-3049); `exact_match` is
    the share of texts that are equal to their reference. BLEU counts words as mteval-v13a splits
    them, in languages without spaces characters.

    Args:
        written: a translation of each text.
        references: one for each.
        languages: codes of the target language of each, such as "de" or "zh-Hans".
    """
    by_language: dict[str, list[tuple[str, str]]] = {}
    for language, *pair in zip(languages, written, references, strict=True):
        by_language.setdefault(language, []).append((pair[0], pair[1]))
    scores = [_score_one(pairs, language) for language, pairs in by_language.items()]
    return {name: statistics.fmean(row[name] for row in scores) for name in scores[0]}


def signatures(languages: Sequence[str]) -> dict[str, str]:
    """How sacrebleu names what it computes, by score; of BLEU for each way of counting words."""
    tokenizers = sorted({_tokenizer(language) for language in languages})
    scorers = {**{f"bleu ({name})": _bleu(name) for name in tokenizers}, "chrf": _chrf()}
    for scorer in scorers.values():
        scorer.corpus_score(["a"], [["a"]])  # a signature tells of the references that were seen
    return {name: str(scorer.get_signature()) for name, scorer in scorers.items()}


def faults(written: Sequence[str], sources: Sequence[str]) -> dict[str, float]:
    """Shares of translations that are their source, or say some words twice in succession."""
    pairs = list(zip(written, sources, strict=True))
    return {
        "copies of the source": statistics.fmean(text == source for text, source in pairs),
        "with a repetition": statistics.fmean(bool(_TWICE.search(text)) for text in written),
    }


def _score_one(pairs: Sequence[tuple[str, str]], language: str) -> dict[str, float]:
    written, references = (list(side) for side in zip(*pairs, strict=True))
    scorers = {
        "bleu": _bleu(_tokenizer(language)),
        "bleu_lower": _bleu(_tokenizer(language), lowercase=True),
        "chrf": _chrf(),
    }
    scores = {
        name: scorer.corpus_score(written, [references]).score / 100
        for name, scorer in scorers.items()
    }
    equal = statistics.fmean(text == reference for text, reference in pairs)
    return {**scores, "exact_match": equal}


def _tokenizer(language: str) -> str:
    return _TOKENIZERS.get(language.split("-")[0], "13a")


def _bleu(tokenizer: str, *, lowercase: bool = False):
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer, lowercase=lowercase)


def _chrf():
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
