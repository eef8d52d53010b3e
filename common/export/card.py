"""card.json of an export: what a model is for, what it takes and gives, where it comes from.

The description of a field is prose for people. Programs, such as `serving`, read the other keys:

    dtype         "string", "float32", ...
    dims          names of the dimensions, "batch" first where rows are independent; a number where
                  the size is fixed
    media_type    what a string holds: "text/plain" (UTF-8), "image/*", "audio/wav"
    formats       of an image: "JPEG", "PNG", "BMP"
    sample_rate   of sound, in Hz; also of a waveform of numbers
    max_pixels    of an image; more are an error
    min_samples   of sound; fewer are an error

Names of dimensions have a meaning too. An integer input `num_samples` (batch,) holds the real
lengths along "samples" of the others, which may be padded. Outputs that share a dimension stand in
one table of the page, and words along a dimension label the pictures along it. Numbers that end
with "rows", "columns" lie over the image among the inputs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from common.runs import files
from common.runs.directory import RunDirectory

Field = dict[str, object]
Fields = Mapping[str, Field]

FILES = ("assets.extra/card.json", "card.json")  # of a SavedModel, of another runtime
# What else an export consists of; requests to warm up TensorFlow Serving are a user's.
_CONTENTS = (
    *("saved_model.pb", "fingerprint.pb", "variables/*", "assets/*", "assets.extra/*.*"),
    *("*.onnx", "*.tflite", "*.py", "__pycache__/*", "settings.json", "vocab*.txt"),
)

_ENCODERS = {"efficientnet_lite0": "EfficientNet-Lite0 weights, Apache-2.0, trained on ImageNet-1k"}


def numbers(dtype: str, *dims: str | int, description: str = "", **more: object) -> Field:
    """A field of numbers, e.g. `numbers("float32", "batch", "time")`."""
    return {"description": description, "dtype": dtype, "dims": list(dims), **more}


def text(*dims: str | int, description: str = "") -> Field:
    """A field of UTF-8 strings."""
    return numbers("string", *dims, description=description, media_type="text/plain")


def image(*dims: str | int, max_pixels: int) -> Field:
    """A field of encoded images of any size."""
    return numbers(
        "string",
        *dims,
        description="JPEG, PNG or BMP bytes, any size",
        media_type="image/*",
        formats=["JPEG", "PNG", "BMP"],
        max_pixels=max_pixels,
    )


def wav(*dims: str | int, sample_rate: int, description: str = "") -> Field:
    """A field of WAV files."""
    return numbers(
        "string",
        *dims,
        description=description,
        media_type="audio/wav",
        sample_rate=sample_rate,
    )


def is_export(folder: Path) -> bool:
    """Whether a folder is an export: its card is there, and no file that none of them has."""
    names = [p.relative_to(folder) for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()]
    patterns = [PurePath(pattern) for pattern in (*FILES, *_CONTENTS)]
    return any((folder / name).is_file() for name in FILES) and all(
        any(name.match(str(p)) and len(name.parts) == len(p.parts) for p in patterns)
        for name in names
    )


def encoder_licence(image_encoder: str) -> list[str]:
    """The licence of the weights of an image encoder; none for an encoder that is trained here."""
    return [_ENCODERS[image_encoder]] if image_encoder in _ENCODERS else []


def make_card(
    run: RunDirectory,
    *,
    task: str,
    data: str,
    inputs: Fields,
    outputs: Fields,
    licences: Sequence[str],
    signatures: Mapping[str, Mapping[str, Fields]] | None = None,
) -> dict[str, object]:
    """The card of a run, with the metrics that `evaluate` has left there.

    `inputs` and `outputs` are those of "serving_default", by name; `signatures` the others by name,
    each {"inputs": ..., "outputs": ...}; `licences` those of data and weights.
    """
    return {
        "task": task,
        "inputs": dict(inputs),
        "outputs": dict(outputs),
        **({"signatures": dict(signatures)} if signatures else {}),
        "training_data": data,
        "metrics": stored_metrics(run.path),
        "licences": list(licences),
    }


def stored_metrics(run_path: Path) -> dict[str, object]:
    """Metrics and baselines that `evaluate` has left in a run directory, by split."""
    metrics = {}
    for path in sorted(run_path.glob("metrics-*.json")):
        stored = files.read_json(path, {"split": "", "metrics": {}, "baselines": {}})
        metrics[stored["split"]] = {key: stored[key] for key in ("metrics", "baselines")}
    return metrics
