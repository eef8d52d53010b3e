"""Questions about photos, made by rule from what people wrote about each.

    "a brown dog is running through the snow"
        -> what color is the dog? brown; what is the dog doing? running; where is the dog? snow

What a thing's color is, what somebody does and where differ from photo to photo: the question alone
says little of the answer.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple


class Asked(NamedTuple):
    """A question about a photo; `kind` is color, action or place."""

    question: str
    answer: str
    kind: str


SUBJECTS = (
    "man woman boy girl child baby person dog men women boys girls children babies people dogs"
)
PLURAL = "men women boys girls children babies people dogs shorts pants"
COLORS = "black white brown red blue green yellow orange pink purple gray grey tan"
COLORED = (
    "dog dogs shirt jacket hat dress shorts pants coat suit car ball hair outfit uniform bike "
    "bicycle helmet boat sweater top costume vest cap toy flag water swimsuit"
)
PLACES = (
    "snow water grass beach field street ocean pool park sand woods forest road sidewalk yard "
    "mountain rock rocks hill city river lake air track stage gym bench couch"
)


def _any(words: str) -> str:
    return f"({words.replace(' ', '|')})"


_COLOR = re.compile(rf"\b{_any(COLORS)} {_any(COLORED)}\b")
_ACTION = re.compile(rf"\b{_any(SUBJECTS)} (?:\w+ ){{0,6}}?(?!wearing|swing|string)(\w{{2,}}ing)\b")
_PLACE = re.compile(
    rf"\b{_any(SUBJECTS)}\b.*?\b"
    rf"(?:in|on|through|across|along|into|over|down|near|at) (?:\w+ ){{0,2}}?{_any(PLACES)}\b"
)


def ask(captions: Iterable[str]) -> list[Asked]:
    """Questions about one photo, each once.

    Where captions differ the most frequent answer counts; without one there is no question.
    """
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for caption in map(str.lower, captions):
        for color, thing in _COLOR.findall(caption):
            answers["color", f"what color {_is(thing)}?"][color.replace("grey", "gray")] += 1
        if found := _ACTION.search(caption):
            answers["action", f"what {_is(found[1])} doing?"][found[2]] += 1
        if found := _PLACE.search(caption):
            answers["place", f"where {_is(found[1])}?"][found[2]] += 1
    asked = []
    for (kind, question), counts in answers.items():
        (answer, most), *others = counts.most_common(2)
        if not others or others[0][1] < most:
            asked.append(Asked(question, answer, kind))
    return asked


def _is(thing: str) -> str:
    return f"{'are' if thing in PLURAL.split() else 'is'} the {thing}"
