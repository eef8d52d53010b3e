"""How far the exports for ONNX Runtime and LiteRT are from the SavedModel, on validation examples.

    python -m benchmarks.runtimes --runs runs/demo

Raw inputs go through both whole: the SavedModel, and runtime.py with its own decoding of files,
features, words and search. In eight bits, what counts is the metric.
"""

import datetime
import importlib
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro

from benchmarks import commands
from common.runs import cli, files

FORMATS = ("onnx", "onnx_int8", "litert", "litert_int8")


class Example(NamedTuple):
    """A raw input, and what tells a right answer from a wrong one."""

    inputs: dict
    record: dict


def main(*, runs: Path, examples: int = 100, apps: tuple[str, ...] = ()) -> None:
    """Prints the differences and writes results/runtimes.json.

    Args:
        runs: Folder with a run of each app, named after it.
        examples: Of the validation part, the first so many.
        apps: Only these.
    """
    cli.start_tensorflow_quietly()
    report = {
        "command": " ".join(["python -m benchmarks.runtimes", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "examples": examples,
    }
    for app in apps or commands.APPS:
        report[app] = compare(app, runs / app, examples)
        print(app, report[app], flush=True)
    files.write_json(commands.RESULTS / "runtimes.json", report)


def compare(app: str, run_dir: Path, count: int) -> dict:
    """Of each format: the largest difference of a number, the share of equal answers, metrics."""
    import tensorflow as tf

    examples = validation_examples(app, run_dir, count)
    exported(app, run_dir, "saved_model")
    saved = tf.saved_model.load(str(run_dir / "saved_model"))
    expected = [ask_saved_model(app, saved, example.inputs) for example in examples]
    figures: dict[str, dict] = {"saved_model": _metrics(app, examples, expected)}
    for format in FORMATS:
        folder = exported(app, run_dir, format)
        ask = load_runtime(folder)
        answers = [ask(**example.inputs) for example in examples]
        pairs = list(zip(answers, expected, strict=True))
        furthest = max(_difference(*pair) for pair in pairs)
        models = (path for path in folder.iterdir() if path.suffix in (".onnx", ".tflite"))
        size = sum(path.stat().st_size for path in models)
        figures[format] = {
            "largest_difference": float(f"{furthest:.2g}") if np.isfinite(furthest) else None,
            "same_answer": round(float(np.mean([_same(app, *pair) for pair in pairs])), 4),
            "megabytes": round(size / 1e6, 2),
            **_metrics(app, examples, answers),
        }
    return figures


def exported(app: str, run_dir: Path, format: str) -> Path:
    """The export of a run, made where it is not yet."""
    folder = run_dir / format
    if not folder.exists():
        begun = time.monotonic()
        importlib.import_module(f"apps.{app}.export").export(run_dir, format=format)
        print(f"{app} {format}: exported in {time.monotonic() - begun:.1f} s", flush=True)
    return folder


def load_runtime(folder: Path, *, threads: int | None = None):
    """The Runtime of an export, whose modules have the same names in all of them."""
    for name in ("runtime", *(path.stem for path in folder.glob("*.py"))):
        sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("runtime").Runtime(folder, threads=threads)
    finally:
        sys.path.remove(str(folder))


def validation_examples(app: str, run_dir: Path, count: int) -> list[Example]:
    """The first so many of the data that the run was validated on."""
    from common.inputs import sound_files
    from common.runs.directory import RunDirectory

    config_type = importlib.import_module(f"apps.{app}.config").Config
    config = RunDirectory.open(run_dir, app=app).read_config(config_type)
    split = importlib.import_module(f"apps.{app}.data").load_split(config.data, "validation")
    records = getattr(split, "records", split).take(count).as_numpy_iterator()
    make_inputs = {
        "answer_selection": lambda record: {
            "question": record["question"].decode(),
            "candidates": [text.decode() for text in record["candidates"]],
        },
        "image_captioning": lambda record: {"image": record["image"]},
        "phoneme_tagging": lambda record: {"wav": sound_files.encode(record["waveform"] / 2.0**15)},
        "visual_qa": lambda record: {
            "image": record["image"],
            "question": record["question"][0].decode(),
        },
    }[app]
    return [Example(make_inputs(record), record) for record in records]


def ask_saved_model(app: str, saved, inputs: dict) -> dict[str, np.ndarray]:
    """What a SavedModel gives for one raw input of a `Runtime`, by the same names."""
    import tensorflow as tf

    if app == "answer_selection":
        outputs = saved.signatures["rank"](**{n: tf.constant(v) for n, v in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}
    name = "wav" if app == "phoneme_tagging" else "serving_default"
    outputs = saved.signatures[name](**{n: tf.constant([v]) for n, v in inputs.items()})
    return {
        name: value.numpy() if name == "start_s" else value[0].numpy()
        for name, value in outputs.items()
    }


def _difference(answer: dict, wanted: dict) -> float:
    """Of the numbers that both give; infinite where one gives more of them."""
    pairs = [(np.asarray(answer[n]), np.asarray(wanted[n])) for n in wanted if n != "order"]
    numbers = [(a, b) for a, b in pairs if b.dtype.kind == "f"]
    if any(a.shape != b.shape for a, b in numbers):
        return float("inf")
    return max(float(np.abs(a - b).max(initial=0)) for a, b in numbers)


def _same(app: str, answer: dict, wanted: dict) -> float:
    name = {
        "answer_selection": "order",
        "image_captioning": "caption",
        "phoneme_tagging": "phone",
        "visual_qa": "answer",
    }[app]
    first, other = (np.asarray(given[name]) for given in (answer, wanted))
    first = np.char.encode(first, "utf-8") if first.dtype.kind == "U" else first
    if app == "phoneme_tagging":
        return float(np.mean(first == other))
    return float(np.array_equal(first.ravel()[:1], other.ravel()[:1]))


def _metrics(app: str, given: list[Example], answers: list[dict]) -> dict[str, float]:
    if app == "answer_selection":
        from apps.answer_selection.ranking import metrics

        ranked = [
            metrics.Ranked(
                example.record["question_id"].decode(),
                [name.decode() for name in example.record["candidate_ids"]],
                example.record["labels"].tolist(),
                answer["scores"].tolist(),
            )
            for example, answer in zip(given, answers, strict=True)
        ]
        summary = metrics.summarize(metrics.score_questions(ranked), "clean")
        return {name: round(summary[name], 4) for name in ("map", "mrr")}
    if app == "phoneme_tagging":
        from apps.phoneme_tagging.tagging import scoring

        rows = [
            scoring.Tagged(
                frames=[],
                framewise=[],
                decoded=[_text(phone) for phone in answer["phone"]],
                phones=[phone.decode() for phone in example.record["phones"]["phone"]],
                starts=[],
            )
            for example, answer in zip(given, answers, strict=True)
        ]
        return {"phone_error_rate": round(scoring.error_rate(rows), 4)}
    right = [
        _text(np.ravel(answer["answer" if app == "visual_qa" else "caption"])[0])
        in [text.decode() for text in _references(app, example.record)]
        for example, answer in zip(given, answers, strict=True)
    ]
    return {"accuracy" if app == "visual_qa" else "exact_match": round(float(np.mean(right)), 4)}


def _references(app: str, record: dict) -> list[bytes]:
    return [record["answer"][0]] if app == "visual_qa" else list(record["captions"])


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    tyro.cli(main)
