"""Draws the pictures of the README and of the apps' pages from the runs of `make demo`.

    python -m benchmarks.pictures [--runs runs/demo]

What is shown is of the default data's test part, or text and speech that no training has seen; the
drawings are the first two of the test part.
"""

import tempfile
from pathlib import Path

import tyro

from benchmarks import commands
from common.runs import cli

PICTURES = commands.ROOT / "docs" / "pictures"


def main(*, runs: Path = commands.ROOT / "runs" / "demo") -> None:
    """Writes docs/pictures/<app>.png.

    Args:
        runs: Folder with a run of each app, named after it.
    """
    cli.start_tensorflow_quietly()
    from apps.answer_selection import datasets as texts
    from apps.phoneme_tagging import datasets as sounds
    from apps.visual_qa import datasets as images

    answering = ["--image", images.example_arguments()[1], "--question", "is there a red shape?"]
    for app, asked in (("visual_qa", answering), ("phoneme_tagging", sounds.example_arguments())):
        commands.run(
            app, "predict", "--run-dir", runs / app, *asked, "--plot", PICTURES / f"{app}.png"
        )
    draw_translations(runs / "translation")
    draw_ranking(runs / "answer_selection", *texts.example_arguments()[1::2])
    draw_captions(runs / "image_captioning")


def draw_ranking(run_dir: Path, question: str, passages: str, *, most: int = 4) -> None:
    """The best sentences of a text for a question."""
    from apps.answer_selection import predict
    from apps.answer_selection.ranking import retrieval

    predictor = predict.Predictor.load(run_dir)
    sentences = predictor.rank(question, retrieval.read_sentences(Path(passages)))
    predictor.draw(question, sentences[:most], PICTURES / "answer_selection.png")


def draw_translations(run_dir: Path) -> None:
    """Combinations of a subject and a skin tone that no training has seen."""
    from apps.translation.corpora import emoji_names

    tested = emoji_names.read("en", ("de",))["test"]
    texts = [pair.source for pair in sorted(tested, key=lambda pair: len(pair.source))[-2:]]
    plot = ["--plot", PICTURES / "translation.png"]
    commands.run("translation", "predict", "--run-dir", run_dir, *texts, *plot)


def draw_captions(run_dir: Path, *, most: int = 2) -> None:
    """Drawings of combinations that training has not seen, with the words' attention."""
    from apps.image_captioning.corpora import emoji
    from apps.image_captioning.datasets import Emoji

    shown = []
    with tempfile.TemporaryDirectory() as folder:
        for drawing in emoji.read():
            if Emoji.part(drawing) == "test":
                shown.append(drawing.caption)
                image = Path(folder) / f"{len(shown)}.png"
                image.write_bytes(emoji.rasterise(drawing.path))
                print(f"{image.name}: {drawing.caption}")
            if len(shown) == most:
                break
        plot = PICTURES / "image_captioning.png"
        commands.run("image_captioning", "predict", "--run-dir", run_dir, folder, "--plot", plot)


if __name__ == "__main__":
    tyro.cli(main)
