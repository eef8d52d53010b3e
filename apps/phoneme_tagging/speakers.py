"""Who speaks in which part: voices of espeak and Flite, and held-back speakers of recordings."""

import hashlib

import numpy as np

from apps.phoneme_tagging.espeak import Voice
from apps.phoneme_tagging.flite import VOICES, Reading

# Variants of espeak's voice that sound like people; robots, whispers and croaks are left out.
VARIANTS = {
    "train": (
        "m1 f1 m3 f2 m5 f4 m7 klatt Alex Alicia Andy Annie Denis Diogo Gene Henrique Jacky "
        "Lee Marco Michael Mike Nguyen adam anika antonio belinda boris caleb david edward"
    ).split(),
    "validation": "m2 f3 m8 Andrea Mario Reed linda robert steph".split(),
    "test": "m4 f5 m6 Hugo Storm benjamin gustave john pablo".split(),
}
SILENCE_S = (0.05, 0.25)  # before and after a sentence, about as in TIMIT
HELD_BACK_SHARE = 0.1  # of the utterances, for validation, and as many for test


def counts(num_utterances: int) -> dict[str, int]:
    """Utterances of each part for so many training utterances."""
    held_back = max(int(num_utterances * HELD_BACK_SHARE), len(VARIANTS["test"]))
    return {"train": num_utterances, "validation": held_back, "test": held_back}


def voice(part: str, number: int) -> Voice:
    """The voice of utterance `number` of a part: a function of both alone."""
    variants = VARIANTS[part]
    draw = np.random.default_rng([sum(part.encode()), number])
    return Voice(
        variant=variants[number % len(variants)],
        rate=int(draw.integers(140, 200)),
        pitch=int(draw.integers(25, 76)),
        pitch_range=int(draw.integers(30, 71)),
        before=draw.uniform(*SILENCE_S),
        after=draw.uniform(*SILENCE_S),
    )


def reading(part: str, number: int) -> Reading:
    """How Flite speaks utterance `number` of a part: a function of both alone."""
    draw = np.random.default_rng([sum(part.encode()), number])
    return Reading(voice=VOICES[number % len(VOICES)], stretch=draw.uniform(0.8, 1.15))


def held_back(speakers: set[str], *, fold: int, least: int) -> set[str]:
    """A tenth of the speakers, at least so many; each fold takes the next ones."""
    ordered = sorted(speakers, key=lambda one: hashlib.sha256(one.encode()).hexdigest())
    size = max(least, len(ordered) // 10)
    turned = np.roll(ordered, -fold * size)
    return set(turned[:size].tolist())
