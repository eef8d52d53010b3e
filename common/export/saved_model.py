"""Writes SavedModels whole or not at all, and checks them in a process without this project.

What an inference module uses must be an attribute of it, directly or through other `tf.Module`s:
variables (`weights_of`), lookup tables, and parts with either, which are `tf.Module`s themselves.
TensorFlow does not find a table in a plain Python object, and refuses to save the module.
"""

import base64
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

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
        card: task, inputs, outputs, training data, metrics, licences.
        probe: a small batch for each input, by name: strings, bytes or (nested) numbers.
        others: methods of `module` that become signatures too, by name, each with its probe.
        examples: gives arguments of `predict`, which examples.json keeps for people to try; none
            where the package that has them is not installed.

    Raises:
        UserError: `path` holds something else than an export.
        RuntimeError: the SavedModel would not run elsewhere, or gives other results there.
    """
    require_replaceable(path)
    probes = {"serving_default": probe, **(others or {})}
    calls = {name: getattr(module, name) for name in others or ()}
    calls["serving_default"] = module.__call__  # type: ignore[operator]
    # It starts TensorFlow while the module is written, and answers while this process does.
    with files.replacing(path) as folder, start_elsewhere(_CHECK) as process:
        _save(module, folder, calls)
        (folder / "assets.extra").mkdir()
        files.write_json(folder / "assets.extra" / "card.json", card)
        if examples:
            _write_example(folder / "assets.extra", examples)
        problems = unportable_operations(folder)
        if problems:
            raise RuntimeError(f"the SavedModel needs this process: {', '.join(sorted(problems))}")
        request = {"folder": str(folder.resolve()), "probes": _packed(probes)}
        ask_elsewhere(process, json.dumps(request))
        expected = {
            name: calls[name](**{key: tf.constant(value) for key, value in inputs.items()})
            for name, inputs in probes.items()
        }
        listed = {
            name: {key: _listed(value) for key, value in outputs.items()}
            for name, outputs in expected.items()
        }
        answer_from_elsewhere(process, json.dumps(listed))


def _save(module: tf.Module, folder: Path, calls: Mapping[str, Callable]) -> None:
    try:
        tf.saved_model.save(module, str(folder), signatures=calls)
    except AssertionError as error:
        if "untracked" not in str(error):
            raise
        raise RuntimeError(
            "the module uses a lookup table or a variable that it does not track: keep it as an "
            "attribute of the module, or of a tf.Module that is an attribute of it"
        ) from error


def require_replaceable(path: Path) -> None:
    """Checks that an export may be written to `path`: nothing is there, or an older export.

    Raises:
        UserError: another file or folder is there.
    """
    cards = (path / "assets.extra" / "card.json", path / "card.json")
    if path.is_dir() and (any(card.is_file() for card in cards) or not any(path.iterdir())):
        return
    if path.exists():
        raise UserError(
            f"expected a new folder or an older export (with card.json) at {path}, got something "
            "else: name another --output"
        )


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
    except UserError:
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


@contextlib.contextmanager
def start_elsewhere(script: Path) -> Iterator[subprocess.Popen]:
    """A process without this project that runs `script`, which reads lines of JSON."""
    # -I: neither the current folder nor PYTHONPATH is looked at, so only packages are found;
    # -B: nothing is left in the folder.
    command = [sys.executable, "-IB", str(script.resolve())]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        subprocess.Popen(command, cwd=elsewhere, text=True, **pipes) as process,
    ):
        try:
            yield process
        finally:
            process.kill()  # of no effect on one that has ended


def ask_elsewhere(process: subprocess.Popen, line: str) -> None:
    """Gives a line to read and does not wait for an answer."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended: the answer says why
        process.stdin.write(line + "\n")
        process.stdin.flush()


def answer_from_elsewhere(process: subprocess.Popen, line: str) -> str:
    """Gives the last line; what the process has printed when it has ended.

    Raises:
        RuntimeError: it fails.
    """
    printed, problem = process.communicate(line + "\n")
    if process.returncode:
        raise RuntimeError(f"the export fails in a fresh process:\n{problem.strip()}")
    return printed


def _packed(value):
    """Strings and bytes in base64, in numbers, lists and mappings of them."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, bytes | str):
        return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
    if isinstance(value, Mapping):
        return {name: _packed(item) for name, item in value.items()}
    return [_packed(item) for item in value]


def _listed(value: tf.Tensor) -> list:
    if value.dtype == tf.string:
        return tf.io.encode_base64(value).numpy().astype(str).tolist()
    return value.numpy().tolist()
