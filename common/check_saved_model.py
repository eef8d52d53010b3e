"""Loads a SavedModel with TensorFlow alone and compares its answers with expected ones.

Run by `exporting` as a script, in a fresh process: `check_saved_model.py FOLDER PROBE.json`.
"""

import base64
import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf


def main(folder: str, probe_path: str) -> None:
    """Exits with a message when an output differs by more than 1e-5."""
    with open(probe_path, encoding="utf-8") as file:
        probe = json.load(file)
    loaded = tf.saved_model.load(folder)
    for signature, given in probe.items():
        inputs = {name: tf.constant(unpacked(value)) for name, value in given["inputs"].items()}
        outputs = loaded.signatures[signature](**inputs)
        for name, expected in given["outputs"].items():
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
        return [unpacked(one) for one in value]
    return base64.b64decode(value) if isinstance(value, str) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
