"""Long recordings in overlapping windows: what the network says, frame by frame, in bounded memory.

Each window is heard with a margin on either side, whose frames are thrown away. Frames near a join
hear that much context; what lies further off moves them by less than rounding in a trained LSTM.
"""

from collections.abc import Callable

import numpy as np

from common.inputs.audio import FRAME_SHIFT

KEPT = 3000  # frames of a window: 30 s
MARGIN = 300
AT_ONCE = 8  # windows

Hear = Callable[[np.ndarray, np.ndarray], np.ndarray]


def logits(hear: Hear, waveform: np.ndarray, *, kept: int = KEPT, margin: int = MARGIN):
    """The network's logits for a recording of any length.

    Args:
        hear: waveforms float32 (batch, samples), num_samples int32 (batch,) -> logits float32
            (batch, frames, choices).
        waveform: float32 (samples,) at 16 kHz.
        kept: frames taken of each window.
        margin: frames heard before and after them.

    Returns:
        float32 (frames, choices); those of the whole when it is no longer than one window.
    """
    frames = len(waveform) // FRAME_SHIFT
    if frames <= kept + 2 * margin:
        return hear(waveform[None], np.array([len(waveform)], np.int32))[0]
    found = []
    starts = np.arange(0, frames, kept)
    for group in np.split(starts, np.arange(AT_ONCE, len(starts), AT_ONCE)):
        first = np.maximum(group - margin, 0)
        last = group + kept + margin
        pieces = [
            waveform[a * FRAME_SHIFT : b * FRAME_SHIFT if b < frames else None]
            for a, b in zip(first, last, strict=True)
        ]
        sizes = np.array([len(piece) for piece in pieces], np.int32)
        padded = [np.pad(piece, (0, sizes.max() - len(piece))) for piece in pieces]
        for row, start, a in zip(hear(np.stack(padded), sizes), group, first, strict=True):
            found.append(row[start - a : min(start + kept, frames) - a])
    return np.concatenate(found)
