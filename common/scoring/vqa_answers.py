"""Normalises short answers as the VQA v2 evaluation does: answer text -> comparable answer text.

Antol et al. 2015, https://arxiv.org/abs/1505.00468; rules: https://visualqa.org/evaluation.html.
Where that page and the evaluation's code (github.com/GT-Vision-Lab/VQA) differ, the code is
followed, since published figures come from it; such places are marked "Quirk".
"""

import re

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'  # not the apostrophe (girl's) and not the colon (2:50)
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
# Quirk: also meant to spare a period after a digit, but its look-behind is misspelt and void:
# "3." loses its period, ".5" and "2.5" keep theirs.
_STRIPPED_PERIOD = re.compile(r"\.(?!\d)")
_MAX_STRIPPED_PERIODS = 32  # Quirk: a flag, re.UNICODE, stands where the count belongs.

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGITS = {word: str(number) for number, word in enumerate((*_NUMBER_WORDS, "ten"))} | {"none": "0"}

# Quirk: these lists have gaps ("shes", "lets", "thatll" stay as they are). No "I": words arrive
# in lower case, so the official keys "Im", "Ive", "Id've" never match and "im" stays.
_STEMS_BY_ENDING = {
    "n't": "ai are ca could did does do had has have is might must need ought sha should was were "
    "wo would",
    "n't've": "could had might should would",
    "'ve": "could might must not should they we what where who would you",
    "'d": "he how it someone something there they where who you",
    "'d've": "he it she somebody someone something there they we who y'all you",
    "'ll": "how it somebody someone something they what who why y'all you",
    "'s": "he how somebody someone that there what when where who why",
    "'re": "there they what why you",
}
_OTHER_CONTRACTIONS = ("ma'am", "o'clock", "'ow's'at", "'twas", "y'all")


def _missing_apostrophes() -> dict[str, str]:
    """Maps each misspelling with exactly one apostrophe left out to its contraction."""
    correct = [
        stem + ending for ending, stems in _STEMS_BY_ENDING.items() for stem in stems.split()
    ]
    correct.extend(_OTHER_CONTRACTIONS)
    table = {
        word[:position] + word[position + 1 :]: word
        for word in correct
        for position, character in enumerate(word)
        if character == "'"
    }
    # Quirk: this one pair is the wrong way round in the official table.
    return table | {"somebody'd": "somebodyd"}


_CONTRACTIONS = _missing_apostrophes()


def single_line(text: str) -> str:
    """Returns the text with newlines and tabs as spaces, stripped at both ends."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def normalize_vqa_answer(answer: str) -> str:
    """Returns the answer in the form in which the VQA v2 evaluation compares answers.

    Punctuation goes, number words become digits, articles are dropped, apostrophes come back,
    all in lower case. An answer of nothing but articles and punctuation becomes "".

    >>> normalize_vqa_answer("A dog, two cats!")
    'dog 2 cats'
    """
    words = _without_punctuation(single_line(answer)).lower().split()
    words = [_DIGITS.get(word, word) for word in words if word not in _ARTICLES]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words)


def _without_punctuation(text: str) -> str:
    """Removes each mark that stands beside a space, replaces any other by a space."""
    # Quirk: one comma between digits makes every mark of the answer vanish without a space,
    # so "1,000 t-shirts" becomes "1000 tshirts".
    has_number = _COMMA_IN_NUMBER.search(text) is not None
    cleaned = text
    for mark in _PUNCTUATION:
        vanishes = has_number or f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if vanishes else " ")
    return _STRIPPED_PERIOD.sub("", cleaned, count=_MAX_STRIPPED_PERIODS)
