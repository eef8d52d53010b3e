"""Writes captions of images: NumPy, Pillow and ONNX Runtime or LiteRT, nothing else.

python runtime.py photo.jpg

Stands on its own: `export --format onnx` or `litert` puts it beside the model files.
"""

import argparse
from pathlib import Path

import numpy as np
from beam import BeamSearch, attention_of_best
from network import Network, read_lines
from pictures import read


class Runtime:
    """What the SavedModel does, one image at a time.

    Args:
        folder: of the export.
        threads: of the networks; those of the machine if None.
    """

    def __init__(self, folder: Path, *, threads: int | None = None):
        self.encoder = Network(folder, "encoder", threads=threads)
        self.words = read_lines(folder / "vocab_words.txt")
        step = Network(folder, "step", threads=threads)
        self.write, self.settings = BeamSearch(step, len(self.words)), step.settings

    def __call__(self, *, image: bytes) -> dict[str, np.ndarray]:
        """Caption and score (beam,), best first; tokens and attention of the best, by time."""
        captions = self.write(self.encoder(image=read(image, self.settings["image_size"])[None]))
        attention, padding = attention_of_best(captions)
        return {
            "caption": np.array([" ".join(self.as_words(c.token_ids)).strip() for c in captions]),
            "score": np.array([caption.score for caption in captions]),
            "tokens": np.array([*self.as_words(captions[0].token_ids), *padding * [""]]),
            "attention": attention.reshape(-1, *self.settings["grid"]),
        }

    def as_words(self, token_ids: list[int]) -> list[str]:
        """Words, "" for the end."""
        return [self.words[i] if i > self.settings["end_id"] else "" for i in token_ids]


def main() -> None:
    """Prints the captions with their scores, best first."""
    parser = argparse.ArgumentParser(description="Writes captions of an image.")
    parser.add_argument("image", type=Path, help="JPEG, PNG or BMP")
    outputs = Runtime(Path(__file__).parent)(image=parser.parse_args().image.read_bytes())
    for caption, score in zip(outputs["caption"], outputs["score"], strict=True):
        print(f"{score:8.3f}  {caption}")


if __name__ == "__main__":
    main()
