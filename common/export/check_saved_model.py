"""Loads a SavedModel with TensorFlow alone and compares its answers with expected ones.

Run by `saved_model` as a script, in a fresh process. Its input is JSON, {"folder": ..., "probes":
{signature: {input: value}}, "expected": {signature: {output: value}}}, bytes {"b64": ...}.
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
    content = json.load(request, object_hook=unpacked)
    loaded = tf.saved_model.load(content["folder"])
    for signature, probe in content["probes"].items():
        inputs = {name: tf.constant(value) for name, value in probe.items()}
        outputs = loaded.signatures[signature](**inputs)
        for name, expected in content["expected"][signature].items():
            got = outputs[name].numpy()
            if outputs[name].dtype == tf.string:
                same = np.array_equal(got, np.asarray(expected, object))
            else:
                same = np.allclose(got, np.asarray(expected), rtol=1e-5, atol=1e-5)
            if not same:
                sys.exit(f"{signature}, {name}: expected {expected}, got {got}")


def unpacked(value: dict) -> dict | bytes:
    """The bytes that stand in JSON as {"b64": ...}."""
    return base64.b64decode(value["b64"]) if set(value) == {"b64"} else value


if __name__ == "__main__":
    main(sys.stdin)
