"""Writes SavedModels whole or not at all, and checks them in a process without this project.

What an inference module uses must be an attribute of it, directly or through other `tf.Module`s:
variables (`weights_of`), lookup tables, and parts with either, which are `tf.Module`s themselves.
TensorFlow does not find a table in a plain Python object, and refuses to save the module.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from common.export.card import is_export
from common.lstm.layer import machine_code
from common.runs import files
from common.runs.errors import UserError

_CHECK = Path(__file__).parent / "check_saved_model.py"
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def write_saved_model(
    module: tf.Module,
    path: Path,
    *,
    card: Mapping[str, object],
    probe: Mapping[str, Sequence],
    others: Mapping[str, Mapping[str, Sequence | str]] | None = None,
    examples: Callable[[], Sequence[str]] | None = None,
) -> None:
    """Writes `module`, whose `__call__` becomes "serving_default", with its card.json.

    Before the folder appears under its name, a fresh process that has TensorFlow and nothing of
    this project loads it and must give what `module` gives for `probe`.

    Args:
        module: `__call__` is a tf.function with a signature of named inputs and a dict of outputs.
        path: a folder; an older export there is replaced.
        card: from `card.make_card`.
        probe: a small batch for each input, by name: strings, bytes or (nested) numbers.
        others: methods of `module` that become signatures too, by name, each with its probe.
        examples: gives arguments of `predict`, which examples.json keeps for people to try; none
            where the package that has them is not installed, or they cannot be written.

    Raises:
        UserError: `path` holds something else than an export, or has a name that TensorFlow takes
            for a pattern.
        RuntimeError: the SavedModel would not run elsewhere, or gives other results there.
    """
    if set(files.PATTERN) & set(os.path.realpath(path)):
        raise UserError(
            f"expected an --output path without {' '.join(files.PATTERN)}, got {path}: name "
            "another, TensorFlow could not load a SavedModel from there"
        )
    probes = {"serving_default": probe, **(others or {})}
    calls = {name: getattr(module, name) for name in others or ()}
    calls["serving_default"] = module.__call__  # type: ignore[operator]
    with files.replacing(path, is_older=is_export) as folder:
        _save(module, folder, calls)
        (folder / "assets.extra").mkdir()
        files.write_json(folder / "assets.extra" / "card.json", card)
        if examples:
            _write_example(folder / "assets.extra", examples)
        problems = unportable_operations(folder)
        if problems:
            raise RuntimeError(f"the SavedModel needs this process: {', '.join(sorted(problems))}")
        expected = {}
        for name, inputs in probes.items():
            outputs = calls[name](**{key: tf.constant(value) for key, value in inputs.items()})
            expected[name] = {key: value.numpy() for key, value in outputs.items()}
        request = {"folder": str(folder.resolve()), "probes": probes, "expected": expected}
        run_elsewhere(_CHECK, request)


def _save(module: tf.Module, folder: Path, calls: Mapping[str, Callable]) -> None:
    try:
        with machine_code(False):
            tf.saved_model.save(module, str(folder), signatures=calls)
    except AssertionError as error:
        if "untracked" not in str(error):
            raise
        raise RuntimeError(
            "the module uses a lookup table or a variable that it does not track: keep it as an "
            "attribute of the module, or of a tf.Module that is an attribute of it"
        ) from error


def weights_of(model: keras.Model) -> list[tf.Variable]:
    """What a module that calls `model` keeps in its place, for `write_saved_model`.

    Of a Keras model that a module keeps, a SavedModel holds a graph of its own beside that of the
    module: traced, written and read for nothing.
    """
    return [variable.value for variable in model.variables]


def probe_images() -> list[bytes]:
    """Two encoded images of mixed sizes and kinds: what a client may send in one batch."""
    pixels = tf.cast(tf.random.stateless_uniform((48, 80, 3), [1, 2], maxval=256), tf.uint8)
    return [tf.io.encode_png(pixels).numpy(), tf.io.encode_jpeg(pixels[:7, :9]).numpy()]


def unportable_operations(folder: Path) -> set[str]:
    """Operations and attributes of a SavedModel that TensorFlow Serving could not run."""
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    operations = set()
    for meta_graph in saved.meta_graphs:
        for function in meta_graph.graph_def.library.function:
            operations |= {node.op for node in function.node_def} & _PYTHON_OPS
            operations |= {"_XlaMustCompile"} & {n for n, v in function.attr.items() if v.b}
    return operations


def _write_example(folder: Path, examples: Callable[[], Sequence[str]]) -> None:
    """examples.json: a list of inputs by name, each a text or {"file": name}, a file beside it."""
    try:
        arguments = examples()
    except (UserError, OSError):
        return
    row = {}
    for option, value in zip(arguments[::2], arguments[1::2], strict=True):
        path, name = Path(value), option.removeprefix("--")
        if not path.is_absolute():
            row[name] = value
        elif path.suffix in (".rst", ".txt"):
            row[name] = path.read_text(encoding="utf-8")
        else:
            row[name] = {"file": path.name}
            shutil.copyfile(path, folder / path.name)
    files.write_json(folder / "examples.json", [row])


def run_elsewhere(script: Path, request: dict) -> str:
    """What a process without this project prints that runs `script`, which reads JSON.

    Bytes are {"b64": ...} there, arrays are lists.

    Raises:
        RuntimeError: it fails.
    """
    # -I: neither the current folder nor PYTHONPATH is looked at, so only packages are found;
    # -B: nothing is left in the folder.
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(
            [sys.executable, "-IB", str(script.resolve())],
            input=json.dumps(request, default=_plain),
            capture_output=True,
            text=True,
            cwd=folder,
        )
    if ended.returncode:
        raise RuntimeError(f"the export fails in a fresh process:\n{ended.stderr.strip()}")
    return ended.stdout


def _plain(value: bytes | np.ndarray):
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value.tolist()
