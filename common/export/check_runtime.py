"""Runs an exported runtime.py without TensorFlow, and compares its answers with expected ones.

Run by `portable` as a script, in a fresh process. Its input is JSON, {"folder": ...,
"probes": [{"inputs": {name: value}, "outputs": {name: value}}]}.
"""

import base64
import importlib
import json
import sys
from pathlib import Path
from typing import TextIO

FORBIDDEN = ("tensorflow", "keras", "apps", "common")


def main(content: TextIO) -> None:
    """Prints the largest difference of a number; infinity where strings or lengths differ."""
    for name in FORBIDDEN:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails
    request, largest = json.load(content, object_hook=unpacked), 0.0
    sys.path.insert(0, request["folder"])
    import numpy as np

    runtime = importlib.import_module("runtime").Runtime(Path(request["folder"]))
    for probe in request["probes"]:
        outputs = runtime(**probe["inputs"])
        for name, values in probe["outputs"].items():
            expected, got = np.asarray(values), np.asarray(outputs[name])
            if expected.ndim != got.ndim or expected.shape[1:] != got.shape[1:]:
                sys.exit(f"{name}: expected the shape {expected.shape}, got {got.shape}")
            if expected.shape != got.shape:  # matrices in eight bits may write a longer caption
                largest = float("inf")
            elif got.dtype.kind == "U":
                same = np.array_equal(np.char.encode(got, "utf-8"), expected)
                largest = max(largest, 0.0 if same else float("inf"))
            elif got.size:
                largest = max(largest, float(np.abs(got - expected).max()))
    print(largest)


def unpacked(value: dict) -> dict | bytes:
    """The bytes that stand in JSON as {"b64": ...}."""
    return base64.b64decode(value["b64"]) if set(value) == {"b64"} else value


if __name__ == "__main__":
    main(sys.stdin)
