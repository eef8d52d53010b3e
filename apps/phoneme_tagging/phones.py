"""The phones of TIMIT and how they are folded to 48 and 39 classes.

Lee & Hon (1989), https://doi.org/10.1109/29.46546, table I: 48 phones to model, of which some are
not told apart in scoring (39 are left). The glottal stop q is left out of both.
"""

from collections.abc import Sequence

PHONES_61 = tuple(
    "iy ih eh ey ae aa aw ay ah ao oy ow uh uw ux er ax ix axr ax-h "
    "l r w y hh hv el m n ng em en eng nx "
    "jh ch s sh z zh f th v dh "
    "b d g p t k dx q bcl dcl gcl pcl tcl kcl pau epi h#".split()
)

_TO_48 = {
    "ux": "uw",
    "axr": "er",
    "ax-h": "ax",
    "hv": "hh",
    "em": "m",
    "eng": "ng",
    "nx": "n",
    "bcl": "vcl",
    "dcl": "vcl",
    "gcl": "vcl",
    "pcl": "cl",
    "tcl": "cl",
    "kcl": "cl",
    "pau": "sil",
    "h#": "sil",
}
_FROM_48_TO_39 = {
    "ix": "ih",
    "ax": "ah",
    "ao": "aa",
    "zh": "sh",
    "el": "l",
    "en": "n",
    "cl": "sil",
    "vcl": "sil",
    "epi": "sil",
}
CLASSES = {
    "vowel": "iy ih eh ae aa ah uw uh er ey ay oy aw ow".split(),
    "semivowel": "l r w y hh".split(),
    "nasal": "m n ng".split(),
    "fricative": "s z sh f v th dh".split(),
    "affricate": "ch jh".split(),
    "stop": "b d g p t k dx".split(),
    "silence": ["sil"],
}  # of the 39
DELETED = "q"  # "" stands for it after folding
SILENCE = frozenset({"sil", "h#", "pau", "epi"})


def fold(phone: str, size: int) -> str:
    """The class of a phone among 61, 48 or 39; "" for the glottal stop among 48 and 39.

    Takes phones of any of the three sets, so that what a model of 48 classes says can be folded.
    """
    if size == 61:
        return phone
    if phone == DELETED:
        return ""
    phone = _TO_48.get(phone, phone)
    return _FROM_48_TO_39.get(phone, phone) if size == 39 else phone


def runs(frames: Sequence[str]) -> list[tuple[str, int]]:
    """Phones of frames, neighbours of the same merged: (phone, first frame)."""
    return [
        (phone, place)
        for place, phone in enumerate(frames)
        if place == 0 or frames[place - 1] != phone
    ]
