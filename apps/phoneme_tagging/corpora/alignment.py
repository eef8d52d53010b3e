"""Forced alignment with pocketsphinx: a recording and its words -> phones with their times.

pocketsphinx and its US English model are an optional package (BSD-2-Clause). The times are a
machine's: write "forced alignment" where figures rest on them.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from apps.phoneme_tagging.corpora import phones
from apps.phoneme_tagging.corpora.phones import Segment
from common.inputs.audio import FRAME_SHIFT
from common.runs import files
from common.runs.errors import UserError

POCKETSPHINX = "pocketsphinx==5.1.1"
_BEAMS = (1e-48, 1e-120)  # narrow first; a wider one would fit any words to any sound
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_NUMBER = re.compile(r"\(\d+\)$")  # of a pronunciation, `read(2)`


def words_of(text: str) -> list[str]:
    """The words of a transcript in lower case; hyphens part them.

    >>> words_of("She's well-known, isn't she?")
    ["she's", 'well', 'known', "isn't", 'she']
    """
    text = unicodedata.normalize("NFC", text.lower())
    return _WORD.findall(text.replace("\u2019", "'").replace("-", " "))


class Aligner:
    """Aligns recordings.

    Args:
        pronunciations: a file with a line `word PH PH ...` for each, as in CMUdict; a word may
            have several.

    Raises:
        UserError: pocketsphinx is not installed, or the file holds unknown phones.
    """

    def __init__(self, pronunciations: Path | None):
        files.package_folder("pocketsphinx", POCKETSPHINX)
        import pocketsphinx

        options: dict[str, Any] = {"lm": None, "loglevel": "FATAL"}
        options["cmn"] = "batch"  # nothing of the recordings before
        options["bestpath"] = False  # it would look for shorter ways through the words
        self.decoders = [
            pocketsphinx.Decoder(beam=beam, pbeam=beam, wbeam=beam, **options) for beam in _BEAMS
        ]
        lines = [] if pronunciations is None else files.read_lines(pronunciations)
        for number, line in enumerate(lines, start=1):
            word, *sounds = line.split() or [""]
            added = [_add(decoder, word, sounds) for decoder in self.decoders if word]
            if not all(added):
                raise UserError(
                    f"{pronunciations}, line {number}: expected `word PH PH` with phones of "
                    f"CMUdict without stress, got {line!r}"
                )

    def unknown(self, words: Iterable[str]) -> list[str]:
        """Those without a pronunciation."""
        lookup = self.decoders[0].lookup_word
        return [word for word in dict.fromkeys(words) if lookup(word) is None]

    def align(self, waveform: np.ndarray, words: list[str]) -> list[Segment]:
        """The phones of float (samples,) at 16 kHz, without gaps; words are from `words_of`.

        Raises:
            ValueError: says why it cannot be aligned.
        """
        if not words:
            raise ValueError("expected words in the transcript, found none")
        if missing := self.unknown(words):
            raise ValueError(
                f"no pronunciation for {', '.join(missing)}: add a line `{missing[0]} PH PH` "
                "in the phones of CMUdict to the file of --data.pronunciations"
            )
        pcm = (np.clip(waveform, -1, 1) * 32767).astype(np.int16)
        labels = next(filter(None, (_align(each, pcm, words) for each in self.decoders)), None)
        if labels is None:
            raise ValueError("the words do not fit the sound: look at the transcript")
        # Its windows of 25.6 ms begin where ours are centred, near enough: without the half frame,
        # its boundaries are 5 ms early on TIMIT, in the median.
        starts = [0, *(start * FRAME_SHIFT + FRAME_SHIFT // 2 for _, start in labels[1:])]
        # +NSN+ and its like are noises between words.
        names = ["sil" if label.startswith("+") else label for label, _ in labels]
        return phones.renamed(map(Segment, names, starts, [*starts[1:], len(pcm)]), {})


def _add(decoder, word: str, sounds: list[str]) -> bool:
    """Adds a pronunciation to those of a word; False where there is none or a phone is unknown."""
    if not sounds:  # pocketsphinx would end the process
        return False
    word = _NUMBER.sub("", unicodedata.normalize("NFC", word.lower()))
    name, number = word, 2
    while decoder.lookup_word(name) is not None:
        name, number = f"{word}({number})", number + 1
    try:
        decoder.add_word(name, " ".join(sounds).upper(), False)
    except RuntimeError:
        return False
    return True


def _align(decoder, pcm: np.ndarray, words: list[str]) -> list[tuple[str, int]]:
    """Labels of phones and the frames at which they begin; none where the beam finds no way."""
    try:
        decoder.set_align_text(" ".join(words))
        _decode(decoder, pcm)
        decoder.set_alignment()  # from words on to phones, which takes another pass
        _decode(decoder, pcm)
    except RuntimeError:  # no path reaches the end
        return []
    starts, aligned_words = [], []
    for word in decoder.get_alignment():  # an entry lives until the next one
        aligned_words += [_NUMBER.sub("", word.name)] if word.name[0] not in "<[" else []
        starts += [(phone.name, phone.start) for phone in word]
    return starts if aligned_words == words else []  # else the path broke off on the way


def _decode(decoder, pcm: np.ndarray) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()
