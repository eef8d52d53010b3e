"""Translates texts: NumPy and ONNX Runtime or LiteRT, nothing else.

python runtime.py "Turn off the lights" [--language de]

Stands on its own: `export --format onnx` or `litert` puts it beside the model files.
"""

import argparse
import re
from pathlib import Path

import numpy as np
from beam import BeamSearch, attention_of_best
from network import Network, read_lines
from pieces import Pieces

_TAGGED = re.compile(r"\s*>>([\w-]+)<<(.*)", re.DOTALL | re.ASCII)


class Runtime:
    """What the SavedModel does, one text at a time.

    Args:
        folder: of the export.
        threads: of the networks; those of the machine if None.
    """

    def __init__(self, folder: Path, *, threads: int | None = None):
        self.encoder = Network(folder, "encoder", threads=threads)
        self.tokens = read_lines(folder / "vocab_pieces.txt")
        self.pieces = Pieces(self.tokens)
        step = Network(folder, "step", threads=threads)
        self.write, self.settings = BeamSearch(step, len(self.tokens)), step.settings

    def __call__(self, *, text: str) -> dict[str, np.ndarray]:
        """Translation and score (beam,), best first; pieces and attention of the best.

        Raises:
            ValueError: no language of the run, or no text.
        """
        source_ids = self.encode(text)
        translations = self.write(self.encoder(source_ids=np.array([source_ids], np.int32)))
        attention, padding = attention_of_best(translations)
        best = self.as_tokens(translations[0].token_ids)
        return {
            "translation": np.array([self.pieces.decode(t.token_ids) for t in translations]),
            "score": np.array([translation.score for translation in translations]),
            "source_pieces": np.array(self.as_tokens(source_ids)),
            "target_pieces": np.array([*best, *padding * [""]]),
            "attention": attention,
        }

    def encode(self, text: str) -> list[int]:
        """Language, pieces and end."""
        languages = self.settings["languages"]
        tagged = _TAGGED.fullmatch(text)
        language, text = tagged.groups() if tagged else (languages[0], text)
        if language not in languages:
            raise ValueError(f"expected a language out of {', '.join(languages)}, got {language}")
        ids = self.pieces.encode(text)[: self.settings["max_pieces"]]
        if not ids:
            raise ValueError(f"expected a text with a letter, got {text!r}")
        first = self.settings["first_language"] + languages.index(language)
        return [first, *ids, self.settings["end_id"]]

    def as_tokens(self, ids: list[int]) -> list[str]:
        """Pieces as the vocabulary writes them."""
        return [self.tokens[number] for number in ids]


def main() -> None:
    """Prints the translations with their scores, best first."""
    parser = argparse.ArgumentParser(description="Translates a text.")
    parser.add_argument("text")
    parser.add_argument("--language", help="into which")
    arguments = parser.parse_args()
    tag = f">>{arguments.language}<< " if arguments.language else ""
    outputs = Runtime(Path(__file__).parent)(text=tag + arguments.text)
    for translation, score in zip(outputs["translation"], outputs["score"], strict=True):
        print(f"{score:8.3f}  {translation}")


if __name__ == "__main__":
    main()
