"""Forced alignment with pocketsphinx: a recording and its words -> phones with their times.

pocketsphinx and its US English model are an optional package (BSD-2-Clause). The times are a
machine's: write "forced alignment" where figures rest on them.
"""

import functools
import hashlib
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from apps.phoneme_tagging.corpora import phones
from apps.phoneme_tagging.corpora.segments import Segment
from common.inputs.audio import FRAME_SHIFT
from common.runs import files
from common.runs.errors import UserError

POCKETSPHINX = "pocketsphinx==5.1.1"
_BEAMS = (1e-48, 1e-120)  # narrow first; a wider one would fit any words to any sound
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a transcript in lower case; hyphens part them.

    >>> words_of("She's well-known, isn't she?")
    ["she's", 'well', 'known', "isn't", 'she']
    """
    plain = text.lower().replace("\u2019", "'").replace("-", " ")
    return _WORD.findall(plain)


class Aligner:
    """Aligns recordings; what was aligned once is kept in `cache`, by content.

    Args:
        cache: a folder.
        pronunciations: a file with a line `word PH PH ...` for each, as in CMUdict; a word may
            have several.

    Raises:
        UserError: pocketsphinx is not installed, or the file is absent or holds unknown phones.
    """

    def __init__(self, cache: Path, pronunciations: Path | None):
        files.package_folder("pocketsphinx", POCKETSPHINX)
        self.cache = cache
        self.added = _read_pronunciations(pronunciations)
        self.pronunciations = pronunciations

    def unknown(self, words: Iterable[str]) -> list[str]:
        """Those without a pronunciation."""
        lookup = self._decoder(_BEAMS[0]).lookup_word
        return [word for word in dict.fromkeys(words) if lookup(word) is None]

    def align(self, waveform: np.ndarray, words: list[str]) -> list[Segment]:
        """The phones of a recording, without gaps.

        Args:
            waveform: float (samples,) at 16 kHz.
            words: in lower case, from `words_of`.

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
        added = [(word, self.added.get(word)) for word in words]
        content = f"{POCKETSPHINX} {added}".encode() + pcm.tobytes()
        path = self.cache / f"{hashlib.sha256(content).hexdigest()}.json"
        if not path.exists():
            files.write_json(path, self._align_anew(pcm, words))
        starts = files.read_json(path)
        if not starts:
            raise ValueError("the words do not fit the sound: look at the transcript")
        return _segments(starts, len(pcm))

    def _align_anew(self, pcm: np.ndarray, words: list[str]) -> list[tuple[str, int]]:
        """Labels of phones and the frames at which they begin; none when no beam finds a way."""
        for beam in _BEAMS:
            decoder = self._decoder(beam)
            try:
                decoder.set_align_text(" ".join(words))
                _decode(decoder, pcm)
                decoder.set_alignment()  # from words on to phones, which takes another pass
                _decode(decoder, pcm)
            except RuntimeError:  # no path of this beam reaches the end
                continue
            starts, aligned_words = [], []
            for word in decoder.get_alignment():  # an entry lives until the next one
                aligned_words += [_plain(word.name)] if word.name[0] not in "<[" else []
                starts += [(phone.name, phone.start) for phone in word]
            if aligned_words == words:  # else the path broke off on the way
                return starts
        return []

    @functools.cache  # noqa: B019  (an aligner lives as long as its preparation)
    def _decoder(self, beam: float):
        import pocketsphinx

        decoder = pocketsphinx.Decoder(
            lm=None,
            loglevel="FATAL",
            beam=beam,
            pbeam=beam,
            wbeam=beam,
            cmn="batch",  # nothing of the recordings before
            bestpath=False,  # it would look for shorter ways through the words
        )
        for word, pronunciations in self.added.items():
            for pronunciation in pronunciations:
                names = itertools.chain([word], (f"{word}({n})" for n in itertools.count(2)))
                free = next(name for name in names if decoder.lookup_word(name) is None)
                try:
                    decoder.add_word(free, pronunciation, False)
                except RuntimeError:
                    raise UserError(
                        f"{self.pronunciations}: expected phones of CMUdict without stress, "
                        f"such as `word W ER D`, got `{word} {pronunciation}`"
                    ) from None
        return decoder


def _decode(decoder, pcm: np.ndarray) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()


def _segments(phone_starts: list[tuple[str, int]], num_samples: int) -> list[Segment]:
    # Its windows of 25.6 ms begin where ours are centred, near enough: without the half frame, its
    # boundaries are 5 ms early on TIMIT, in the median.
    starts = [start * FRAME_SHIFT + FRAME_SHIFT // 2 for _, start in phone_starts]
    starts[0] = 0
    ends = [*starts[1:], num_samples]
    return [
        Segment(_phone(label), start, end)
        for (label, _), start, end in zip(phone_starts, starts, ends, strict=True)
    ]


def _phone(label: str) -> str:
    # +NSN+ and its like are noises between words.
    return phones.named("sil" if label.startswith("+") else label, {}) or ""


def _read_pronunciations(path: Path | None) -> dict[str, list[str]]:
    if path is None:
        return {}
    if not path.is_file():
        raise UserError(f"expected a file for --data.pronunciations, found none at {path}")
    pronunciations: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        word, *sounds = line.split() or [""]
        if word and not sounds:
            raise UserError(f"{path}, line {number}: expected `word PH PH`, got {line!r}")
        if word:
            pronunciations.setdefault(_plain(word.lower()), []).append(" ".join(sounds).upper())
    return pronunciations


def _plain(word: str) -> str:
    """Without the number of its pronunciation, `read(2)`."""
    return re.sub(r"\(\d+\)$", "", word)
