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

    given = validation_examples(app, run_dir, count)
    exported(app, run_dir, "saved_model")
    saved = tf.saved_model.load(str(run_dir / "saved_model"))
    wanted = [ask_saved_model(app, saved, one.inputs) for one in given]
    found: dict[str, dict] = {"saved_model": _metrics(app, given, wanted)}
    for format in FORMATS:
        folder = exported(app, run_dir, format)
        ask = load_runtime(folder)
        answers = [ask(**one.inputs) for one in given]
        pairs = list(zip(answers, wanted, strict=True))
        furthest = max(_difference(*pair) for pair in pairs)
        models = (path for path in folder.iterdir() if path.suffix in (".onnx", ".tflite"))
        size = sum(path.stat().st_size for path in models)
        found[format] = {
            "largest_difference": float(f"{furthest:.2g}") if np.isfinite(furthest) else None,
            "same_answer": round(float(np.mean([_same(app, *pair) for pair in pairs])), 4),
            "megabytes": round(size / 1e6, 2),
            **_metrics(app, given, answers),
        }
    return found


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
        "answer_selection": lambda one: {
            "question": one["question"].decode(),
            "candidates": [text.decode() for text in one["candidates"]],
        },
        "image_captioning": lambda one: {"image": one["image"]},
        "phoneme_tagging": lambda one: {"wav": sound_files.encode(one["waveform"] / 2.0**15)},
        "visual_qa": lambda one: {"image": one["image"], "question": one["question"][0].decode()},
    }[app]
    return [Example(make_inputs(one), one) for one in records]


def ask_saved_model(app: str, saved, inputs: dict) -> dict[str, np.ndarray]:
    """What a SavedModel gives for one raw input of a `Runtime`, by the same names."""
    import tensorflow as tf

    if app == "answer_selection":
        found = saved.signatures["rank"](**{n: tf.constant(v) for n, v in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}
    name = "wav" if app == "phoneme_tagging" else "serving_default"
    found = saved.signatures[name](**{n: tf.constant([v]) for n, v in inputs.items()})
    return {
        name: value.numpy() if name == "start_s" else value[0].numpy()
        for name, value in found.items()
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
    one, other = (np.asarray(given[name]) for given in (answer, wanted))
    one = np.char.encode(one, "utf-8") if one.dtype.kind == "U" else one
    if app == "phoneme_tagging":
        return float(np.mean(one == other))
    return float(np.array_equal(one.ravel()[:1], other.ravel()[:1]))


def _metrics(app: str, given: list[Example], answers: list[dict]) -> dict[str, float]:
    if app == "answer_selection":
        from apps.answer_selection.ranking import metrics

        ranked = [
            metrics.Ranked(
                one.record["question_id"].decode(),
                [name.decode() for name in one.record["candidate_ids"]],
                one.record["labels"].tolist(),
                answer["scores"].tolist(),
            )
            for one, answer in zip(given, answers, strict=True)
        ]
        found = metrics.summarize(metrics.score_questions(ranked), "clean").metrics
        return {name: round(found[name], 4) for name in ("map", "mrr")}
    if app == "phoneme_tagging":
        from apps.phoneme_tagging.tagging import scoring

        rows = [
            scoring.Tagged(
                frames=[],
                framewise=[],
                decoded=[_text(phone) for phone in answer["phone"]],
                phones=[phone.decode() for phone in one.record["phones"]["phone"]],
                starts=[],
            )
            for one, answer in zip(given, answers, strict=True)
        ]
        return {"phone_error_rate": round(scoring.error_rate(rows), 4)}
    right = [
        _text(np.ravel(answer["answer" if app == "visual_qa" else "caption"])[0])
        in [text.decode() for text in _references(app, one.record)]
        for one, answer in zip(given, answers, strict=True)
    ]
    return {"accuracy" if app == "visual_qa" else "exact_match": round(float(np.mean(right)), 4)}


def _references(app: str, record: dict) -> list[bytes]:
    return [record["answer"][0]] if app == "visual_qa" else list(record["captions"])


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    tyro.cli(main)
