"""Writes SavedModels whole or not at all, and checks them where this project is not."""

import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from common import files
from common.errors import UserError

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
        path: a folder; an older one is replaced.
        card: task, inputs, outputs, training data, metrics, licences.
        probe: a small batch for each input, by name: strings, bytes or (nested) numbers.
        others: methods of `module` that become signatures too, by name, each with its probe.
        examples: gives arguments of `predict`, which examples.json keeps for people to try; none
            where the package that has them is not installed.

    Raises:
        RuntimeError: the SavedModel would not run elsewhere, or gives other results there.
    """
    probes = {"serving_default": probe, **(others or {})}
    calls = {name: getattr(module, name) for name in others or ()}
    calls["serving_default"] = module.__call__  # type: ignore[operator]
    with files.replacing(path) as folder:
        tf.saved_model.save(module, str(folder), signatures=calls)
        (folder / "assets.extra").mkdir()
        files.write_json(folder / "assets.extra" / "card.json", card)
        if examples:
            _write_example(folder / "assets.extra", examples)
        problems = unportable_operations(folder)
        if problems:
            raise RuntimeError(f"the SavedModel needs this process: {', '.join(sorted(problems))}")
        expected = {
            name: calls[name](**{key: tf.constant(value) for key, value in given.items()})
            for name, given in probes.items()
        }
        _check_in_fresh_process(folder, probes, expected)


def weights_of(model: keras.Model) -> list[tf.Variable]:
    """What a module that calls `model` keeps in its place, for `write_saved_model`.

    Of a Keras model that a module keeps, a SavedModel holds a graph of its own beside that of the
    module: traced, written and read for nothing.
    """
    return [variable.value for variable in model.variables]


def unportable_operations(folder: Path) -> set[str]:
    """Operations and attributes of a SavedModel that TensorFlow Serving could not run."""
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    found = set()
    for meta_graph in saved.meta_graphs:
        for function in meta_graph.graph_def.library.function:
            found |= {node.op for node in function.node_def} & _PYTHON_OPS
            found |= {"_XlaMustCompile"} & {n for n, v in function.attr.items() if v.b}
    return found


def stored_metrics(run_path: Path) -> dict[str, object]:
    """Metrics and baselines that `evaluate` has left in a run directory, by split."""
    found = {}
    for path in sorted(run_path.glob("metrics-*.json")):
        stored = files.read_json(path)
        found[stored["split"]] = {key: stored[key] for key in ("metrics", "baselines")}
    return found


def _write_example(folder: Path, examples: Callable[[], Sequence[str]]) -> None:
    """examples.json: a list of inputs by name, each a text or {"file": name}, a file beside it."""
    try:
        given = examples()
    except UserError:
        return
    row = {}
    for option, value in zip(given[::2], given[1::2], strict=True):
        path, name = Path(value), option.removeprefix("--")
        if not path.is_absolute():
            row[name] = value
        elif path.suffix in (".rst", ".txt"):
            row[name] = path.read_text(encoding="utf-8")
        else:
            row[name] = {"file": path.name}
            shutil.copyfile(path, folder / path.name)
    files.write_json(folder / "examples.json", [row])


def _check_in_fresh_process(folder: Path, probes: Mapping, expected: Mapping) -> None:
    content = {
        signature: {
            "inputs": {name: _packed(value) for name, value in probe.items()},
            "outputs": {name: _listed(value) for name, value in expected[signature].items()},
        }
        for signature, probe in probes.items()
    }
    check_elsewhere(_CHECK, folder, json.dumps(content))


def check_elsewhere(script: Path, folder: Path, probe: str) -> str:
    """Runs `script FOLDER PROBE.json` in a fresh process without this project; what it prints.

    Raises:
        RuntimeError: it fails.
    """
    with tempfile.TemporaryDirectory() as elsewhere:
        file = Path(elsewhere) / "probe.json"
        file.write_text(probe)
        # -I: neither the current folder nor PYTHONPATH is looked at, so only packages are found;
        # -B: nothing is left in the folder.
        done = subprocess.run(
            [sys.executable, "-IB", str(script), str(folder.resolve()), str(file)],
            cwd=elsewhere,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(f"the export fails in a fresh process:\n{done.stderr.strip()}")
    return done.stdout


def _packed(value: bytes | str | float | Sequence) -> str | float | list:
    if isinstance(value, int | float):
        return value
    if not isinstance(value, bytes | str):
        return [_packed(one) for one in value]
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _listed(value: tf.Tensor) -> list:
    if value.dtype == tf.string:
        return tf.io.encode_base64(value).numpy().astype(str).tolist()
    return value.numpy().tolist()
