"""NIST's CTM lines, `recording channel start duration label [confidence]`, in seconds.

https://github.com/usnistgov/SCTK/blob/master/doc/infmts.htm
"""

import itertools
from pathlib import Path

from apps.phoneme_tagging.textgrids import Interval
from common.inputs.audio import FRAME_S


def read(path: Path, recording: str) -> list[Interval]:
    """The labels of one recording, in order; overlaps below 10 ms are rounding and cut.

    Args:
        path: a CTM file; comments begin with `;;`.
        recording: what its lines are called; blanks in it are written `_`.

    Raises:
        ValueError: a line is damaged, or none is of this recording.
    """
    name = "_".join(recording.split())
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;") or fields[0] != name:
            continue
        try:
            start, duration = float(fields[2]), float(fields[3])
            found.append(Interval(fields[4], start, start + duration))
        except (ValueError, IndexError):
            raise ValueError(
                f"line {number}: expected `recording channel start duration phone`, got {line!r}"
            ) from None
    if not found:
        raise ValueError(f"expected lines of the recording {name}, found none")
    found.sort(key=lambda one: one.start_s)
    for place, (one, two) in enumerate(itertools.pairwise(found)):
        if 0 < one.end_s - two.start_s < FRAME_S:
            found[place] = one._replace(end_s=two.start_s)
    return found
