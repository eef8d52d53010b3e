"""Tags speech with an exported network: NumPy and ONNX Runtime or LiteRT, nothing else.

python runtime.py speech.wav

Stands on its own: `export --format onnx` or `litert` puts it beside the model file.
"""

import argparse
from pathlib import Path

import numpy as np
from network import Network, read_lines
from wav import read  # pyright: ignore[reportMissingImports]

SAMPLE_RATE, FRAME_SHIFT, WINDOW, FFT = 16_000, 160, 400, 512
NUM_CEPSTRA, PRE_EMPHASIS, FLOOR = 12, 0.97, 1e-7


class Runtime:
    """What the SavedModel does, one recording at a time.

    Args:
        folder: of the export.
        threads: of the network; those of the machine if None.
    """

    def __init__(self, folder: Path, *, threads: int | None = None):
        self.network = Network(folder, threads=threads)
        self.settings = self.network.settings
        self.phones = np.array(read_lines(folder / "vocab_phones.txt"))
        self.offset = np.array(self.settings["offset"], np.float32)
        self.transitions = np.array(self.settings["transitions"], np.float32)

    def __call__(self, *, wav: bytes) -> dict[str, np.ndarray]:
        """WAV bytes, 16-bit PCM at 16 kHz -> phone, probability and start_s, each (frames,)."""
        logits = self.logits(read_wav(wav))
        log_probs = logits - logits.max(axis=1, keepdims=True)
        log_probs -= np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
        scores = self.settings["acoustic_weight"] * (log_probs - self.offset)
        path = viterbi(scores, self.transitions)
        return {
            "phone": self.phones[path],
            "probability": np.exp(log_probs[np.arange(len(path)), path]),
            "start_s": np.arange(len(path), dtype=np.float32) * FRAME_SHIFT / SAMPLE_RATE,
        }

    def logits(self, waveform: np.ndarray) -> np.ndarray:
        """Float32 (samples,) in [-1, 1] at 16 kHz -> (frames, choices)."""
        frames = features(waveform, self.settings["features"], self.settings["num_mels"])
        mask = np.ones((1, len(frames)), bool)
        return self.network(features=frames[None], frame_mask=mask)["logits"][0]


def read_wav(encoded: bytes) -> np.ndarray:
    """The mean of the channels, float32 (samples,) in [-1, 1]."""
    samples, rate, coding = read(encoded)
    if (rate, coding) != (SAMPLE_RATE, "16-bit PCM") or len(samples) < WINDOW:
        raise ValueError(
            f"expected 16-bit PCM at {SAMPLE_RATE} Hz, at least {WINDOW} samples, got {coding} at "
            f"{rate} Hz, {len(samples)} samples"
        )
    return samples.mean(axis=1).astype(np.float32)


def features(waveform: np.ndarray, kind: str, num_mels: int) -> np.ndarray:
    """MFCC or log-mel energies, log energy and two derivatives: (samples,) -> (frames, dim)."""
    emphasised = waveform - PRE_EMPHASIS * np.pad(waveform, (1, 0))[:-1]
    margin = (WINDOW - FRAME_SHIFT) // 2
    padded = np.pad(emphasised, margin)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::FRAME_SHIFT]
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(pieces * window.astype(np.float32), FFT)) ** 2
    energy = power.sum(axis=1, keepdims=True) / FFT
    values = np.log(np.maximum(power @ mel_filters(num_mels), FLOOR))
    if kind == "mfcc":  # the orthonormal cosine transform, without its constant row
        places = np.pi / num_mels * (np.arange(num_mels) + 0.5)
        values = values @ np.cos(np.outer(places, np.arange(1, NUM_CEPSTRA + 1)))
        values *= np.sqrt(2 / num_mels)
    static = np.concatenate([values, np.log(np.maximum(energy, FLOOR))], axis=1)
    first = slopes(static)
    return np.concatenate([static, first, slopes(first)], axis=1).astype(np.float32)


def slopes(values: np.ndarray) -> np.ndarray:
    """Regression over two frames on either side, the ends repeated: (frames, dim), the same."""
    near = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    return (near[3:-1] - near[1:-3] + 2 * (near[4:] - near[:-4])) / 10


def mel_filters(num_mels: int) -> np.ndarray:
    """Triangles of equal width in mel, straight in Hz: (FFT / 2 + 1, num_mels)."""
    top = 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, num_mels + 2) / 2595.0) - 1.0)
    hertz = np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1)[:, None]
    rising = (hertz - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hertz) / np.diff(edges)[1:]
    return np.maximum(0.0, np.minimum(rising, falling))


def viterbi(scores: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """The best path, int (frames,), of scores (frames, choices).

    A phone has two states: its first frame, and all others, which alone lead on to other phones. So
    none but the last is shorter than two frames.
    """
    num_phones = scores.shape[1]
    own = np.arange(num_phones)
    entered, held = scores[0], np.full(num_phones, -1e9, np.float32)
    before = []
    for score in scores[1:]:
        ways = held[:, None] + transitions
        stayed = np.where(entered > held, own, own + num_phones)
        before.append(np.concatenate([ways.argmax(axis=0) + num_phones, stayed]))
        entered, held = ways.max(axis=0) + score, np.maximum(entered, held) + score
        top = max(entered.max(), held.max())  # only differences count
        entered, held = entered - top, held - top
    path = [np.concatenate([entered, held]).argmax()]
    for pointer in reversed(before):
        path.append(pointer[path[-1]])
    return np.array(path[::-1]) % num_phones


def main() -> None:
    """Prints a line for each phone: when it begins and ends, and what it is."""
    parser = argparse.ArgumentParser(description="Tags a sound file with phones.")
    parser.add_argument("wav", type=Path, help="16-bit PCM at 16 kHz")
    tagged = Runtime(Path(__file__).parent)(wav=parser.parse_args().wav.read_bytes())
    phone, start_s = tagged["phone"], tagged["start_s"]
    first = np.flatnonzero(np.append(True, phone[1:] != phone[:-1]))
    ends = np.append(start_s[first[1:]], len(phone) * FRAME_SHIFT / SAMPLE_RATE)
    for place, end in zip(first, ends, strict=True):
        print(f"{start_s[place]:8.2f} {end:8.2f}  {phone[place]}")


if __name__ == "__main__":
    main()
