"""Text -> sentences, by rule: `.`, `!` or `?` ends one, unless an abbreviation or a number says no.

Small on purpose: a model of sentence ends would be a download. Lines that stand apart (a blank line
between them) are never joined; single line breaks are taken as spaces, as in wrapped text.
"""

import re

# Words that end in a full stop inside a sentence; without their last stop, in lower case.
_NEVER_LAST = frozenset(
    "dr mr mrs ms mx prof sen rep gov gen col capt lt sgt rev hon mt fr det messrs pres "
    "e.g i.e cf vs viz al approx ca esp resp incl w.r.t".split()
)
_BEFORE_NUMBERS = frozenset(
    "no nos fig figs eq eqs sec secs ch chap vol vols pp art ref refs tab "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_MAYBE_LAST = frozenset(
    "etc inc ltd co corp jr sr st ave u.s u.k u.n a.m p.m b.c a.d d.c ph.d".split()
)

_END = re.compile(r"[.!?]+[\"'\u2019\u201d)\]]*(?=\s)")
_STARTS = re.compile(r"\s+[\"'\u2018\u201c(\[`]*(\S)")
# Words that begin a sentence more often than they go on after "U.S." or "Inc.".
_OPENERS = frozenset(
    "the a an it he she they we you i this that these those in on at but and if when his her its "
    "there for as what who where why how".split()
)


def split_sentences(text: str) -> list[str]:
    """Splits a text into sentences, each on one line, without empty ones.

    >>> split_sentences("Dr. Li paid $3.50. Did he? Yes.")
    ['Dr. Li paid $3.50.', 'Did he?', 'Yes.']
    """
    sentences = []
    for paragraph in re.split(r"\n\s*\n", text):
        line = " ".join(paragraph.split())
        start = 0
        for end in _END.finditer(line):
            if _is_end(line, end):
                sentences.append(line[start : end.end()])
                start = end.end()
        sentences.append(line[start:])
    return [sentence.strip() for sentence in sentences if sentence.strip()]


def _is_end(line: str, end: re.Match) -> bool:
    following = _STARTS.match(line, end.end())
    if following is None:
        return True
    first = following[1]
    if not end[0].startswith(".") or end[0].startswith(".."):
        return not first.islower()  # ("Why?" he asked) goes on in lower case
    if first.islower():
        return False
    before = line[: end.start()].rsplit(" ", 1)[-1].lstrip("\"'(\u2018\u201c[").lower()
    if before in _NEVER_LAST:
        return False
    if before in _BEFORE_NUMBERS:
        return not first.isdigit()
    is_initial = len(before) == 1 and before.isalpha() and before != "i"
    if is_initial or before in _MAYBE_LAST or re.fullmatch(r"([^\W\d]\.)+[^\W\d]", before):
        # "J. Smith", "U.S. Senate", "p. 5" go on; "Acme Inc. The next" does not.
        word = re.match(r"[\w']+", line[following.start(1) :])
        return word is not None and word[0].lower() in _OPENERS
    return True
