"""Speech with phone times from CMU Flite: text -> samples, segments.

Flite is a program that a user installs (package flite of Debian; http://cmuflite.org, under terms
like those of BSD). Its voices come from people's recordings: kal16 joins pieces of them, the others
are models of speakers of CMU Arctic. The phones' ends are those that the program prints.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.phoneme_tagging.corpora.phones import PHONES_61
from apps.phoneme_tagging.corpora.segments import Segment, divide_stops, tidy
from common.inputs import sound_files
from common.inputs.audio import SAMPLE_RATE
from common.runs.errors import UserError

PROGRAM = "flite"
VOICES = ("rms", "slt", "awb", "kal16")


class Reading(NamedTuple):
    """How a sentence is spoken: a voice, and how long its phones last beside the voice's own."""

    voice: str
    stretch: float


def choose_reading(part: str, number: int) -> Reading:
    """How utterance `number` of a part is spoken: a function of both alone."""
    generator = np.random.default_rng([sum(part.encode()), number])
    return Reading(voice=VOICES[number % len(VOICES)], stretch=generator.uniform(0.8, 1.15))


def version() -> str:
    """What the program says of itself, for the name of the prepared data.

    Raises:
        UserError: it is not installed, or without one of the voices.
    """
    where = shutil.which(PROGRAM)
    voices = [] if where is None else _call("-lv").stdout.decode().split()
    if missing := [voice for voice in VOICES if voice not in voices]:
        problem = "found none" if where is None else f"{where} has no voice {', '.join(missing)}"
        raise UserError(
            f"expected the program {PROGRAM} with the voices {', '.join(VOICES)}, {problem}: "
            f"install it (Debian: apt-get install {PROGRAM}), or choose --data.name espeak"
        )
    return _call("--version").stdout.decode()


def say(text: str, reading: Reading) -> tuple[np.ndarray, list[Segment]]:
    """Speaks a text.

    Returns:
        float64 (samples,) at 16 kHz and its phones, without gaps.

    Raises:
        ValueError: it speaks a phone that TIMIT does not have, or the program fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        stretch = f"duration_stretch={reading.stretch:.3f}"
        done = _call("-voice", reading.voice, "--setf", stretch, "-psdur", "-t", text, "-o", path)
        if done.returncode:
            raise ValueError(f"{PROGRAM} failed: {done.stderr.decode(errors='replace').strip()}")
        waveform = sound_files.read(path)
    segments = _segments(done.stdout.decode(), len(waveform))
    return waveform, tidy(divide_stops(segments, waveform))


def _call(*arguments) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True)


def _segments(printed: str, num_samples: int) -> list[Segment]:
    """Phones from `pau:0.2 hh:0.31 ...`, names and ends in seconds."""
    segments, start = [], 0
    for field in printed.split():
        phone, _, end_s = field.rpartition(":")
        if phone not in PHONES_61:
            raise ValueError(f"unknown phone {phone!r} of {PROGRAM}, not one of TIMIT's")
        end = min(round(float(end_s) * SAMPLE_RATE), num_samples)
        if end > start:
            segments.append(Segment(phone, start, end))
            start = end
    return segments
