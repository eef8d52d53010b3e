"""Writes captions of images: NumPy, Pillow and ONNX Runtime or LiteRT, nothing else.

python runtime.py photo.jpg

Stands on its own: `export --format onnx` or `litert` puts it beside the model files.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from network import Network, read_lines
from pictures import read


class Hypothesis(NamedTuple):
    """A caption or the beginning of one.

    Attributes:
        score: log-probability of a beginning; with the length penalty, of a whole caption.
        token_ids: written so far.
        attention: (regions,) at each of them.
    """

    score: np.float32
    token_ids: list[int]
    attention: list[np.ndarray]


class Runtime:
    """What the SavedModel does, one image at a time.

    Args:
        folder: of the export.
        threads: of the networks; those of the machine if None.
    """

    def __init__(self, folder: Path, *, threads: int | None = None):
        self.encoder = Network(folder, "encoder", threads=threads)
        self.step = Network(folder, "step", threads=threads)
        self.settings = self.step.settings
        self.words = read_lines(folder / "vocab_words.txt")

    def __call__(self, *, image: bytes) -> dict[str, np.ndarray]:
        """Caption and score (beam,), best first; tokens and attention of the best, by time."""
        captions = self.write(read(image, self.settings["image_size"]))
        best = captions[0]
        padding = max(len(caption.token_ids) for caption in captions) - len(best.token_ids)
        attention = np.array([*best.attention, *padding * [np.zeros_like(best.attention[0])]])
        return {
            "caption": np.array([" ".join(self.as_words(c.token_ids)).strip() for c in captions]),
            "score": np.array([caption.score for caption in captions]),
            "tokens": np.array([*self.as_words(best.token_ids), *padding * [""]]),
            "attention": attention.reshape(-1, *self.settings["grid"]),
        }

    def as_words(self, token_ids: list[int]) -> list[str]:
        """Words, "" for the end."""
        return [self.words[i] if i > self.settings["end_id"] else "" for i in token_ids]

    def write(self, pixels: np.ndarray) -> list[Hypothesis]:
        """Beam search with a length penalty (Wu et al. 2016, https://arxiv.org/abs/1609.08144).

        Uint8 (size, size, 3) -> finished captions, best first; never more than the beam is wide.
        """
        beam, max_steps = self.settings["beam"], self.settings["max_steps"]
        memory = self.encoder(image=pixels[None])
        states = {name: memory.pop(name) for name in list(memory) if name.startswith("state_")}
        states = {name: np.repeat(value, beam, axis=0) for name, value in states.items()}
        last = np.full(beam, self.settings["start_id"], np.int32)
        live, pool = [Hypothesis(np.float32(0), [], [])], []
        for length in range(max_steps):
            reachable = self.penalised(max(hypothesis.score for hypothesis in live), max_steps)
            if len(pool) == beam and reachable <= pool[-1].score:
                break
            outputs = self.step(token_ids=last, **states, **memory)
            log_probs = outputs["log_probs"][: len(live)] + self.allowed(length)
            totals = np.array([hypothesis.score for hypothesis in live])[:, None] + log_probs
            best = np.argsort(-totals, axis=None, kind="stable")[:beam]
            best = best[np.isfinite(totals.ravel()[best])]
            parents, tokens = np.divmod(best, log_probs.shape[1])
            live, rows = self.grown(live, pool, totals, parents, tokens, outputs["attention"])
            pool.sort(key=lambda caption: -caption.score)  # of equal ones, the older stays before
            del pool[beam:]
            if not live:
                break
            rows += (beam - len(rows)) * [0]  # fillers: the network takes `beam` rows
            last = tokens[rows].astype(np.int32)
            states = {name: outputs[f"next_{name}"][parents[rows]] for name in states}
        return pool

    def grown(self, live, pool, totals, parents, tokens, attention) -> tuple[list, list]:
        """What goes on, and its places in `tokens`; what ends is added to `pool`."""
        grown, rows = [], []
        for row, (parent, token) in enumerate(zip(parents, tokens, strict=True)):
            before = live[parent]
            token_ids = [*before.token_ids, int(token)]
            looks = [*before.attention, attention[parent]]
            score = totals[parent, token]
            if token == self.settings["end_id"]:
                pool.append(Hypothesis(self.penalised(score, len(token_ids)), token_ids, looks))
            else:
                grown.append(Hypothesis(score, token_ids, looks))
                rows.append(row)
        return grown, rows

    def penalised(self, log_prob: np.float32, length: int) -> np.float32:
        """A log-probability by a power of the length."""
        return log_prob / np.float32(((5 + length) / 6) ** self.settings["length_penalty"])

    def allowed(self, length: int) -> np.ndarray:
        """0 for the tokens that may come next, minus infinity for the others, (vocab,)."""
        added, end = np.zeros(len(self.words), np.float32), self.settings["end_id"]
        added[self.settings["forbidden_ids"]] = -np.inf
        if length < self.settings["min_steps"]:
            added[end] = -np.inf
        if length == self.settings["max_steps"] - 1:
            added[np.arange(len(added)) != end] = -np.inf
        return added


def main() -> None:
    """Prints the captions with their scores, best first."""
    parser = argparse.ArgumentParser(description="Writes captions of an image.")
    parser.add_argument("image", type=Path, help="JPEG, PNG or BMP")
    outputs = Runtime(Path(__file__).parent)(image=parser.parse_args().image.read_bytes())
    for caption, score in zip(outputs["caption"], outputs["score"], strict=True):
        print(f"{score:8.3f}  {caption}")


if __name__ == "__main__":
    main()
