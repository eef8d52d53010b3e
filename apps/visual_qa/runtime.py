"""Answers questions about images: NumPy, Pillow and ONNX Runtime or LiteRT, nothing else.

python runtime.py photo.jpg "what is it?"

Stands on its own: `export --format onnx` or `litert` puts it beside the model file.
"""

import argparse
from pathlib import Path

import numpy as np
from network import Network, read_lines
from pictures import read
from words import padded, split

UNKNOWN, NUM_TOP = 1, 5


class Runtime:
    """What the SavedModel does, one image and question at a time.

    Args:
        folder: of the export.
        threads: of the network; those of the machine if None.
    """

    def __init__(self, folder: Path, *, threads: int | None = None):
        self.network = Network(folder, threads=threads)
        self.settings = self.network.settings
        self.ids = {word: n for n, word in enumerate(read_lines(folder / "vocab_words.txt"))}
        answers = read_lines(folder / "vocab_answers.txt")
        self.answers = np.array([*answers, *[""] * NUM_TOP])  # fillers at the end

    def __call__(self, *, image: bytes, question: str) -> dict[str, np.ndarray]:
        """The five best answers with their probabilities, and attention (hops, rows, columns)."""
        words = split(question)[: self.settings["max_question_words"]]
        if not words:
            raise ValueError(f"expected a question of at least one word, got {question!r}")
        token_ids, token_mask = padded([[self.ids.get(word, UNKNOWN) for word in words]])
        pixels = read(image, self.settings["image_size"])[None]
        outputs = self.network(image=pixels, token_ids=token_ids, token_mask=token_mask)
        scores = np.exp(outputs["logits"][0] - outputs["logits"].max())
        probabilities = np.append(scores / scores.sum(), np.zeros(NUM_TOP, np.float32))
        top = np.argsort(-probabilities, kind="stable")[:NUM_TOP]
        return {
            "answer": self.answers[top[0]],
            "probability": probabilities[top[0]],
            "top_answers": self.answers[top],
            "top_probabilities": probabilities[top],
            "attention": outputs["attention"][0],
        }


def main() -> None:
    """Prints the best answers and their probabilities."""
    parser = argparse.ArgumentParser(description="Answers a question about an image.")
    parser.add_argument("image", type=Path, help="JPEG, PNG or BMP")
    parser.add_argument("question")
    arguments = parser.parse_args()
    runtime = Runtime(Path(__file__).parent)
    best = runtime(image=arguments.image.read_bytes(), question=arguments.question)
    for answer, probability in zip(best["top_answers"], best["top_probabilities"], strict=True):
        print(f"{probability:7.1%}  {answer}")


if __name__ == "__main__":
    main()
