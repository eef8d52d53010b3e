"""Loads a SavedModel with TensorFlow alone and compares its answers with expected ones.

Run by `saved_model` as a script, in a fresh process. Its input has two lines of JSON, of which the
second comes later: {"folder": ..., "probes": {signature: {input: value}}}, then what to expect,
{signature: {output: value}}.
"""

import base64
import json
import os
import sys
from typing import TextIO

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# Keras imports these two for features that are not used here: a third of the whole start.
sys.modules.update(dict.fromkeys(("matplotlib", "sklearn")))  # pyright: ignore

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def main(lines: TextIO) -> None:
    """Exits with a message when an output differs by more than 1e-5."""
    request = json.loads(lines.readline())
    loaded, outputs = tf.saved_model.load(request["folder"]), {}
    for signature, probe in request["probes"].items():
        inputs = {name: tf.constant(unpacked(value)) for name, value in probe.items()}
        outputs[signature] = loaded.signatures[signature](**inputs)
    for signature, values in json.loads(lines.readline()).items():
        for name, expected in values.items():
            got = outputs[signature][name]
            if got.dtype == tf.string:
                same = tf.io.encode_base64(got).numpy().astype(str).tolist() == expected
            else:
                same = np.allclose(got.numpy(), np.asarray(expected), rtol=1e-5, atol=1e-5)
            if not same:
                sys.exit(f"{signature}, {name}: expected {expected}, got {got}")


def unpacked(value: str | float | list) -> bytes | float | list:
    """Bytes from base64, a number, or a list of them."""
    if isinstance(value, list):
        return [unpacked(item) for item in value]
    return base64.b64decode(value) if isinstance(value, str) else value


if __name__ == "__main__":
    main(sys.stdin)
