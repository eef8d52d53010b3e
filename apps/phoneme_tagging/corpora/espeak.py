"""Speech with exact phone times from espeak-ng, through ctypes: text -> samples, segments.

The library comes with the pip package espeakng-loader. espeak-ng is under the GPL, version 3 or
later: it is loaded at run time where a user has installed it, and no part of this project.

A stop begins at its burst: the closure belongs to the segment before. A phone that espeak gives no
time of its own (an l after some vowels) is left out. Silence is put at both ends, as in recordings.
"""

import ctypes
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.phoneme_tagging.corpora.phones import Segment, tidy
from common.inputs import sound_files
from common.inputs.audio import SAMPLE_RATE
from common.runs import files
from common.runs.errors import UserError

ESPEAK = "espeakng-loader==0.2.4"
LANGUAGE = "en-us"
_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT, _UTF8 = 2, 1, 0x8000, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_END, _PHONEME = 0, 7  # kinds of event

# espeak's mnemonics, without stress -> the nearest phone of TIMIT. Vowels that espeak joins with an
# r ("A@" in "are") keep the name of the vowel.
_NAMES = (
    "p p b b t t t2 t d d k k g g f f v v T th D dh s s z z S sh Z zh h hh tS ch dZ jh "
    "m m n n n- en N ng l l @L el r r r- r w w j y t# dx ? q "
    "i iy i: iy I ih I# ix I2 ih E eh E2 eh a ae aa ae A: aa 0 aa O: ao O ao O2 ao V ah "
    "U uh u: uw u uw 3: er 3 axr @ ax @2 ax @5 ax @- ax-h a# ax "
    "eI ey aI ay aI3 ay aI@ ay OI oy aU aw aU@ aw oU ow "
    "e@ eh A@ aa O@ ao o@ ao U@ uh i@ ih i@3 ih pau pau"
).split()
PHONES: dict[str, str] = dict(zip(_NAMES[::2], _NAMES[1::2], strict=True))
_MODIFIERS = frozenset({";", "", "|", "||"})  # they sound with the phone before

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

PACKAGES = {"numpy": "numpy", "sklearn": "scikit-learn", "keras": "keras"}  # names for pip
_SHARES = {"validation": 0.15, "test": 0.3}  # of the modules, up to here; the rest is for training
_SENTENCE = re.compile(r"(?<=\s)[A-Z][a-z]+(?:\s+[a-z]{1,14}){4,9}\.(?=\s)")
_HELD_BACK_SHARE = 0.1  # of the sentences, for validation, and as many for test
_MIN_HELD_BACK = 9  # as many as espeak has voices for test


class Voice(NamedTuple):
    """How a sentence is spoken."""

    variant: str  # of espeak's voice
    rate: int  # words a minute
    pitch: int  # 0 to 99, as its range
    pitch_range: int
    before: float  # seconds of silence
    after: float


def choose_voice(part: str, number: int) -> Voice:
    """The voice of utterance `number` of a part: a function of both alone."""
    variants = VARIANTS[part]
    generator = np.random.default_rng([sum(part.encode()), number])
    return Voice(
        variant=variants[number % len(variants)],
        rate=int(generator.integers(140, 200)),
        pitch=int(generator.integers(25, 76)),
        pitch_range=int(generator.integers(30, 71)),
        before=generator.uniform(*SILENCE_S),
        after=generator.uniform(*SILENCE_S),
    )


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_void_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Synthesizer:
    """espeak-ng in this process. It holds one state for all, so use one, from one thread.

    Raises:
        UserError: the package is not installed, or its library cannot be loaded.
    """

    def __init__(self):
        files.package_folder("espeakng_loader", ESPEAK)
        import espeakng_loader

        data = str(espeakng_loader.get_data_path()).encode()
        options = _PHONEME_EVENTS | _DONT_EXIT
        try:
            self.engine = ctypes.CDLL(espeakng_loader.get_library_path())
            self.rate = self.engine.espeak_Initialize(_SYNCHRONOUS, 0, data, options)
        except OSError as error:  # of another system
            raise UserError(
                f"expected the library of espeak-ng, it cannot be loaded ({error}): "
                f"run `pip install --force-reinstall {ESPEAK}`, or choose --data.name timit"
            ) from None
        self._sound: list[bytes] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _Callback(self._collect)  # espeak keeps the address: so do we
        self.engine.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: Voice) -> tuple[np.ndarray, list[Segment]]:
        """Speaks a text: float64 (samples,) at 16 kHz and its phones, without gaps.

        Raises:
            ValueError: espeak does not know the voice, or a phone has no name in `PHONES`.
        """
        self._sound.clear()
        self._events.clear()
        if self.engine.espeak_SetVoiceByName(f"{LANGUAGE}+{voice.variant}".encode()):
            raise ValueError(f"expected a voice of {ESPEAK}, got {voice.variant!r}")
        settings = ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range))
        for parameter, value in settings:
            self.engine.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode()
        self.engine.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
        sound = np.frombuffer(b"".join(self._sound), np.int16) / 2.0**15
        spoken, scale = sound_files.resample(sound, self.rate), SAMPLE_RATE / self.rate
        before, after = (round(seconds * SAMPLE_RATE) for seconds in (voice.before, voice.after))
        end = before + len(spoken)
        times = [(min(before + round(at * scale), end), name) for at, name in self._events]
        samples = np.pad(spoken, (before, after))
        return samples, _segments([(0, "_"), *times, (end, "_")], len(samples))

    def _collect(self, samples, num_samples: int, events) -> int:
        if samples and num_samples:
            self._sound.append(ctypes.string_at(samples, 2 * num_samples))
        place = 0
        while events[place].type != _END:
            if events[place].type == _PHONEME:
                self._events.append((events[place].sample, events[place].id.string.decode()))
            place += 1
        return 0  # go on


def _segments(times: list[tuple[int, str]], num_samples: int) -> list[Segment]:
    """Phones without gaps or zero lengths from (start, mnemonic)."""
    plain = [(start, name.lstrip("',")) for start, name in times]
    named = [(start, "pau" if name[:1] == "_" else name) for start, name in plain]
    named = [(start, name) for start, name in named if name not in _MODIFIERS]
    if unknown := {name for _, name in named} - PHONES.keys():
        raise ValueError(f"unknown phones {unknown} of espeak, not in espeak.PHONES")
    ends = [*(start for start, _ in named[1:]), num_samples]
    spans = zip(named, ends, strict=True)
    return tidy(Segment(PHONES[name], start, end) for (start, name), end in spans if end > start)


def sentences(num_training: int) -> dict[str, list[str]]:
    """Sentences to speak, for training and a tenth as many for validation and for test.

    From comments and documentation of installed packages: plain sentences, words of letters alone.
    No sentence and no module is in two parts. Fewer where the packages have no more.

    Raises:
        UserError: a package is not installed.
    """
    num_held_back = max(int(num_training * _HELD_BACK_SHARE), _MIN_HELD_BACK)
    counts = {"train": num_training, "validation": num_held_back, "test": num_held_back}
    texts: dict[str, list[str]] = {part: [] for part in counts}
    seen: set[str] = set()
    for module, path in _modules():
        part = next((part for part, share in _SHARES.items() if _place(module) < share), "train")
        if len(texts[part]) < counts[part]:
            for sentence in _SENTENCE.findall(path.read_text(encoding="utf-8", errors="replace")):
                spoken = " ".join(sentence.split())
                if spoken not in seen and len(texts[part]) < counts[part]:
                    seen.add(spoken)
                    texts[part].append(spoken)
    return texts


def _modules() -> list[tuple[str, Path]]:
    """Names and paths of source files, in an order that mixes the packages."""
    folders = [files.package_folder(name, pip) for name, pip in PACKAGES.items()]
    modules = [
        (path.relative_to(folder.parent).as_posix(), path)
        for folder in folders
        for path in folder.rglob("*.py")
        if "tests" not in path.relative_to(folder).parts
    ]
    return sorted(modules, key=lambda module: _place("order of " + module[0]))


def _place(module: str) -> float:
    """A number in [0, 1) for a module, the same on every machine."""
    return int(hashlib.sha256(module.encode()).hexdigest()[:8], 16) / 2**32
