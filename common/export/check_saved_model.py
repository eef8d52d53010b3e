"""Loads a SavedModel with TensorFlow alone and compares its answers with expected ones.

Run by `saved_model` as a script, in a fresh process. Its input is JSON, {"folder": ..., "probes":
{signature: {input: value}}, "expected": {signature: {output: value}}}, strings in base64.
"""

import base64
import json
import os
import sys
from typing import TextIO

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf


def main(request: TextIO) -> None:
    """Exits with a message when an output differs by more than 1e-5."""
    content = json.load(request)
    loaded = tf.saved_model.load(content["folder"])
    for signature, probe in content["probes"].items():
        inputs = {name: tf.constant(unpacked(value)) for name, value in probe.items()}
        outputs = loaded.signatures[signature](**inputs)
        for name, expected in content["expected"][signature].items():
            got = outputs[name]
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
