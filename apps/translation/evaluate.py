"""Scores a run: BLEU and chrF of beam search by sacrebleu, beside rivals without a network.

python -m apps.translation.evaluate --run-dir runs/translation [--split validation|test] [--json]
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from apps.translation.config import APP, Config
from common.runs import cli, directory
from common.scoring.evaluation import Evaluation

if TYPE_CHECKING:
    from apps.translation.translating.validation import Texts

_COLLAPSED = 0.1  # a share of texts with one translation, above which it is no accident
_LENGTHS = ((1, 3), (4, 9), (10, 19), (20, 10_000))  # words of a source


def evaluate(
    run_dir: Path,
    split: str = "validation",
    *,
    root: Path | None = None,
    cache_dir: Path | None = None,
) -> Evaluation:
    """Scores the best model of a run on a split.

    Writes metrics-<split>.json and translations-<split>.tsv, all that was written, there.

    Args:
        run_dir: written by `train`.
        split: "train", "validation" or "test".
        root: where the official files are now, if not where training found them.
        cache_dir: likewise for prepared data.

    Raises:
        UserError: no run of this app, or the data has no such split.
    """
    run, config = directory.open_run(
        run_dir, app=APP, config_type=Config, root=root, cache_dir=cache_dir
    )

    from apps.translation import data, model
    from apps.translation.translating import baselines, validation
    from common.lstm.layer import machine_code
    from common.scoring import metrics, translations

    translator = model.load_inference(run.path)
    texts = validation.read(data.load_split(config.data, split).as_numpy_iterator())
    with machine_code():
        written = validation.translate(
            lambda text: translator(text)["translation"][:, 0],
            texts.tagged,
            batch_size=config.train.batch_size,
        )
    training = validation.read(data.load_split(config.data, "train").as_numpy_iterator())
    rivals = baselines.translate(training, texts)
    details = {}
    for name, places in _groups(texts):
        chosen = texts.at(places)
        details[name] = translations.score(
            [written[place] for place in places], chosen.targets, chosen.languages
        )
    for name, column in {"translations": written, "references": texts.targets}.items():
        details[f"of the {name}"] = translations.faults(column, texts.sources)
    collapse = metrics.answer_collapse(written)
    notes = [f"{name}: {value}" for name, value in translations.signatures(texts.languages).items()]
    if collapse.share > _COLLAPSED and len(written) > 1:
        notes.append(
            f"{collapse.share:.0%} of the texts get the same translation, "
            f"{collapse.most_frequent!r}: train longer, or with a smaller learning rate"
        )
    result = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=len(written),
        metrics=translations.score(written, texts.targets, texts.languages),
        baselines={
            name: translations.score(column, texts.targets, texts.languages)
            for name, column in rivals.items()
        },
        details=details,
        notes=tuple(notes),
    )
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(result))
    columns = {"source": texts.sources, "reference": texts.targets, "model": written, **rivals}
    rows = zip(*columns.values(), strict=True)
    lines = ["\t".join(" ".join(cell.split()) for cell in row) for row in [columns, *rows]]
    run.write_text(f"translations-{split}.tsv", "\n".join(lines) + "\n")
    return result


def _groups(texts: "Texts") -> Iterator[tuple[str, list[int]]]:
    """Places of the texts of each language, and of sources of like length."""
    languages = sorted(set(texts.languages))
    if len(languages) > 1:
        for language in languages:
            yield f"into {language}", [n for n, c in enumerate(texts.languages) if c == language]
    lengths = [len(source.split()) for source in texts.sources]
    for least, most in _LENGTHS:
        if places := [n for n, length in enumerate(lengths) if least <= length <= most]:
            yield f"sources of {least} to {most} words", places


main = cli.evaluate_command(evaluate)

if __name__ == "__main__":
    cli.run(main, app=APP)
