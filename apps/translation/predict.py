"""Translates texts with a trained run, and shows where it looked.

python -m apps.translation.predict --run-dir runs/translation --text "..." [--plot out.png]
"""

import json as json_module
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tyro

from apps.translation.config import APP
from common.runs import cli, files
from common.runs.errors import UserError

if TYPE_CHECKING:
    from apps.translation.model import Translator
    from common.training.logging import Sample, Samples

logger = logging.getLogger("cellstate")

_BATCH = 64
_MAX_DRAWN = 4  # texts in one picture


class Translation(NamedTuple):
    """What the model makes of one text.

    Attributes:
        text: as given.
        translations: (translation, score), best first; the score is the log-probability after the
            length penalty.
        source_pieces, target_pieces: with language and end; of the best translation.
        attention: float32 (target pieces, source pieces), each row summing to 1; without columns
            where the network has no attention.
    """

    text: str
    translations: list[tuple[str, float]]
    source_pieces: list[str]
    target_pieces: list[str]
    attention: np.ndarray


class Predictor:
    """A loaded run, for any number of texts."""

    def __init__(self, translator: "Translator"):
        from common.lstm.layer import machine_code

        self.languages = [code.decode() for code in translator.languages.numpy()]
        self.max_pieces = translator.max_pieces
        with machine_code():
            self._translate = translator.__call__.get_concrete_function()

    @classmethod
    def load(cls, run_dir: Path, *, beam: int | None = None) -> "Predictor":
        """Loads the best model of a run; `beam` is that of the run unless given.

        Raises:
            UserError: no run of this app, or its model is missing or damaged.
        """
        from apps.translation.model import load_inference

        return cls(load_inference(run_dir, beam=beam))

    def translate(self, texts: Sequence[str], language: str | None = None) -> list[Translation]:
        """Translates texts into `language`, by default the first of the run.

        Texts of like length go together, so that long ones do not slow short ones.

        Raises:
            UserError: a text has no letter, or the run does not know the language.
        """
        import tensorflow as tf

        from common.inputs import pipeline, subwords

        language = self.languages[0] if language is None else language
        if language not in self.languages:
            raise UserError(
                f"expected --language out of {', '.join(self.languages)}, got {language}: choose "
                "one of them, or train a network for it"
            )
        # What is no Unicode, such as a file name on the command line, is "?".
        encoded = [text.encode(errors="replace") for text in texts]
        for number, words in enumerate(subwords.normalise(tf.constant(encoded)).numpy(), start=1):
            if not words:
                text = texts[number - 1]
                raise UserError(f"expected a text with a word, got {text!r} as text {number}")
        results: list[Translation | None] = [None] * len(texts)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        batches = list(pipeline.chunks(order, _BATCH))
        for places in cli.progress(batches, "batches of texts"):
            tagged = [f">>{language}<< ".encode() + encoded[place] for place in places]
            for place, result in zip(places, self._batch(tagged), strict=True):
                results[place] = result._replace(text=texts[place])
        return [result for result in results if result is not None]

    def _batch(self, texts: Sequence[bytes]) -> Iterator[Translation]:
        """Of UTF-8 with the tag of the language, which is part of `text` in what it gives."""
        import tensorflow as tf

        outputs = self._translate(tf.constant(texts))
        outputs = {name: value.numpy() for name, value in outputs.items()}
        for row, text in enumerate(texts):
            pairs = zip(outputs["translation"][row], outputs["score"][row], strict=True)
            source, target = (
                [piece.decode() for piece in outputs[f"{side}_pieces"][row] if piece]
                for side in ("source", "target")
            )
            yield Translation(
                text.decode(),
                [(words.decode(), float(score)) for words, score in pairs if score > -np.inf],
                source,
                target,
                outputs["attention"][row, : len(target), : len(source)],
            )


def make_samples(translator: "Translator", records: Iterable) -> "Samples":
    """Makes what TensorBoard shows of a training: translations of the first of some records."""
    from common.training.logging import NUM_SAMPLES, Sample

    predictor = Predictor(translator)
    first = [
        [record[name].numpy().decode() for name in ("source", "target", "target_language")]
        for record in islice(records, NUM_SAMPLES)
    ]

    def write(folder: Path) -> "Iterator[Sample]":
        for number, (source, target, language) in enumerate(first):
            results = predictor.translate([source], language)
            path = folder / f"{number}.png"
            draw(results, path)
            best = results[0].translations[0][0]
            yield Sample(f"{source}: **{best}** (right: **{target}**)", path)

    return write


def draw(results: Sequence[Translation], path: Path) -> None:
    """Draws the attention of texts: a row for each written piece, a column for each read one.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    from common.plots import figures

    results = results[:_MAX_DRAWN]
    sizes = [(len(result.source_pieces), len(result.target_pieces)) for result in results]
    width = 2 + 0.35 * max(sum(columns for columns, _ in sizes), 6) + 1.5 * len(sizes)
    height = 2.2 + 0.3 * max(rows for _, rows in sizes)
    figure = figures.start(path, size=(width, height))
    ratios = [columns + 3 for columns, _ in sizes]
    axes = figure.subplots(1, len(results), squeeze=False, width_ratios=ratios)[0]
    for axis, result in zip(axes, results, strict=True):
        if result.attention.shape[1]:
            axis.imshow(result.attention, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ticks = {"fontsize": 8, "parse_math": False}
        axis.set_xticks(
            range(len(result.source_pieces)), result.source_pieces, rotation=90, **ticks
        )
        axis.set_yticks(range(len(result.target_pieces)), result.target_pieces, **ticks)
        axis.set_title(result.translations[0][0], fontsize=9, parse_math=False)
    figures.finish(figure, title="Where it looked for each piece that it wrote", path=path)


def main(
    *,
    run_dir: Path,
    texts: tyro.conf.Positional[tuple[str, ...]] = (),
    text: tuple[str, ...] = (),
    file: Path | None = None,
    language: str | None = None,
    beam: int | None = None,
    alternatives: int = 1,
    output: cli.OutputFile = None,
    plot: cli.OutputFile = None,
    json: bool = False,
) -> None:
    """Translates texts, or a file line by line.

    Args:
        run_dir: Folder that `train` wrote.
        texts: In the source language of the run.
        text: The same by name.
        file: A text file, a text a line; - reads standard input. Empty lines stay empty.
        language: Into which; the first of the run by default.
        beam: Hypotheses kept at each step; that of the run by default.
        alternatives: Translations printed of each text, at most as many as the beam.
        output: Write the translations to this file, a line for each text.
        plot: Write a picture of where the model looked, e.g. out.png.
        json: Print one JSON object.
    """
    if alternatives < 1 or (beam is not None and beam < 1):
        raise UserError(f"expected --beam and --alternatives >= 1, got {beam} and {alternatives}")
    lines = [*texts, *text, *(_read(file) if file else ())]
    if not any(line.split() for line in lines):
        raise UserError("expected texts, --text or --file with a word in it, got none: give one")
    width = max(alternatives, beam or 0) if beam or alternatives > 1 else None
    predictor = Predictor.load(run_dir, beam=width)
    filled = [line for line in lines if file is None or line.split()]
    results = predictor.translate(filled, language)
    best = iter(row.translations[0][0] for row in results)
    written = [next(best) if file is None or line.split() else "" for line in lines]
    if json:
        print(json_module.dumps({"texts": [_as_row(row, alternatives) for row in results]}))
    elif alternatives > 1:
        for row in results:
            for words, score in row.translations[:alternatives]:
                print(f"{score:8.3f}  {words}")
    elif output is None:
        print("\n".join(written))
    if output is not None:
        files.write_text(output, "".join(f"{line}\n" for line in written))
    if plot is not None:
        draw(results, plot)


def _read(file: Path) -> list[str]:
    if str(file) == "-":
        return sys.stdin.read().splitlines()
    return files.read_lines(file)


def _as_row(result: Translation, alternatives: int) -> dict:
    row = result._asdict() | {"attention": result.attention.tolist()}
    return row | {"translations": result.translations[:alternatives]}


if __name__ == "__main__":
    cli.run(main, app=APP)
