"""Writes runs for ONNX Runtime and LiteRT, and checks them in a process without TensorFlow."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from common.export import conversion, saved_model
from common.export.card import is_export
from common.export.conversion import Part
from common.lstm.layer import LSTM
from common.runs import files
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")

_STANDALONE = Path(__file__).parent / "standalone"
_CHECK = Path(__file__).parent / "check_runtime.py"


def write_runtime(
    path: Path,
    parts: Mapping[str, Part],
    *,
    format: str,
    sources: Sequence[Path | str],
    settings: Mapping[str, object],
    copies: Sequence[Path],
    card: Mapping[str, object],
    probes: Sequence[tuple[Mapping, Mapping]],
    close: float = 1e-4,
) -> None:
    """Writes a folder that needs NumPy and one runtime: model files, Python, words, card.json.

    Before the folder appears under its name, its runtime.py answers `probes` in a fresh process
    in which TensorFlow cannot be imported.

    Args:
        path: a folder; an older export there is replaced.
        parts: what becomes a model file, by its name.
        format: "onnx" or "litert"; with "_int8" at its end, the model files hold matrices in eight
            bits (`conversion.convert`), and the answers to the probes are not compared.
        sources: Python files to put beside them; a string is one of common/export/standalone/.
        settings: what runtime.py reads from settings.json, besides the names of the outputs.
        copies: other files that it reads.
        card: task, inputs, outputs, training data, metrics, licences.
        probes: arguments of a `Runtime`, strings, bytes and lists of strings by name, each with
            what TensorFlow gives for them, arrays by name.
        close: how far a number of an answer may be from that.

    Raises:
        UserError: a package is missing, or `path` holds something else than an export.
        RuntimeError: runtime.py fails there, or an answer differs by more than `close`.
    """
    runtime, _, int8 = format.partition("_")
    conversion.require(runtime)
    with files.replacing(path, is_older=is_export) as folder:
        folder.mkdir()
        outputs = {}
        for name, part in parts.items():
            file = folder / f"{name}{conversion.SUFFIXES[runtime]}"
            outputs[name] = conversion.convert(part, file, int8=bool(int8))
        for source in [*sources, "network.py", *copies]:
            file = _STANDALONE / source if isinstance(source, str) else source
            shutil.copyfile(file, folder / file.name)
        files.write_json(folder / "settings.json", {"outputs": outputs, **settings})
        needs = ["numpy", *conversion.RUN_BY[runtime]]
        files.write_json(folder / "card.json", {**card, "format": format, "needs": needs})
        check_in_fresh_process(folder, probes, close=float("inf") if int8 else close)


def require_portable(model: keras.Model) -> None:
    """Checks that every layer of a network can be converted.

    Raises:
        UserError: names the first layer that cannot.
    """
    for layer in model._flatten_layers():
        is_lstm = isinstance(layer, LSTM) and layer.is_fast(training=False)
        if isinstance(layer, keras.layers.RNN) and not is_lstm:
            raise UserError(
                f"expected LSTM layers (standard activations, no GPU), got {layer.path} of "
                f"{type(layer.cell).__name__}: other recurrent layers are exported by "
                "--format saved_model only"
            )
        if layer.compute_dtype != "float32":
            raise UserError(
                f"expected float32 (--train.precision), got {layer.path} in "
                f"{layer.compute_dtype}: half precision is exported by --format saved_model only"
            )


def check_in_fresh_process(
    folder: Path, probes: Sequence[tuple[Mapping, Mapping]], *, close: float
) -> None:
    """Asks the runtime.py of an export in a process without TensorFlow; see `write_runtime`."""
    content = [{"inputs": inputs, "outputs": outputs} for inputs, outputs in probes]
    request = {"folder": str(folder.resolve()), "probes": content}
    difference = float(saved_model.run_elsewhere(_CHECK, request))
    if not difference <= close:
        raise RuntimeError(f"expected the answers of TensorFlow, got some {difference:.1e} away")
    logger.info("runtime.py, without TensorFlow: at most %.1e from its answers", difference)
