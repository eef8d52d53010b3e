"""Graphs of TensorFlow to model files of ONNX Runtime and LiteRT.

A part of a network is a Python function of tensors, `function(**inputs)` -> a dict of tensors, with
the names, shapes and dtypes of its inputs.
"""

import contextlib
import importlib.util
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from common.lstm import layer
from common.runs.errors import UserError

PACKAGES = {
    "onnx": ("tf2onnx==1.17.0", "onnx==1.23.2", "onnxruntime==1.32.0"),
    "litert": ("ai-edge-litert==2.3.0",),
}
RUN_BY = {"onnx": PACKAGES["onnx"][-1:], "litert": PACKAGES["litert"]}
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
_OPSET = 18


class Part(NamedTuple):
    """A function to convert, and its inputs by name; None in their shapes is free.

    LiteRT takes one row at a time: there the first None of every shape is 1.
    """

    function: Callable[..., dict]
    inputs: Mapping[str, tf.TensorSpec]


def require(runtime: str) -> None:
    """Checks that the packages of "onnx" or "litert" are installed.

    Raises:
        UserError: names those that are missing.
    """
    names = [package.split("==")[0].replace("-", "_") for package in PACKAGES[runtime]]
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--format {runtime}: expected the package {missing[0]}, it is not installed: "
            f"pip install {' '.join(PACKAGES[runtime])}"
        )


def convert(part: Part, path: Path, *, int8: bool = False) -> list[str]:
    """Writes the model file of `part`.

    Args:
        part: see `Part`.
        path: the file; its suffix, one of SUFFIXES, chooses the runtime.
        int8: matrices are kept in eight bits, and products made in them where the runtime can; the
            activations are scaled as they come (dynamic-range quantisation).

    Returns:
        The names of its outputs, in the order of the file.
    """
    is_onnx = path.suffix == SUFFIXES["onnx"]
    specs = [
        tf.TensorSpec(spec.shape if is_onnx else _one_row(spec.shape), spec.dtype, name)
        for name, spec in part.inputs.items()
    ]
    names = list(part.inputs)
    function = tf.function(
        lambda *values: part.function(**dict(zip(names, values, strict=True))),
        input_signature=specs,
        autograph=False,
    )
    with layer.converting("onnx" if is_onnx else "litert"):
        traced = function.get_concrete_function()
    outputs = sorted(traced.structured_outputs)
    with _quiet():
        # With its variables, LiteRT would make operations on them, which fail when they are run.
        frozen = convert_variables_to_constants_v2(traced)
        if is_onnx:
            _write_onnx(frozen, outputs, path, int8)
        else:
            _write_litert(frozen, path, int8)
    return outputs


def _one_row(shape: tf.TensorShape) -> list:
    sizes = shape.as_list()
    return [1 if number == 0 and size is None else size for number, size in enumerate(sizes)]


def _write_onnx(frozen, outputs: list[str], path: Path, int8: bool) -> None:
    # Whatever it says, tf2onnx then does not copy the graph before each of its dozens of changes,
    # which takes longer than all else.
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")
    import onnx
    import tf2onnx

    by_name = {tensor.name: tensor.name.split(":")[0] for tensor in frozen.inputs}
    named = dict(zip([tensor.name for tensor in frozen.outputs], outputs, strict=True))
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=list(by_name),
        output_names=list(named),
        opset=_OPSET,
        custom_op_handlers={"BlockLSTM": (_as_onnx_lstm, [])},
        tensors_to_rename={**by_name, **named},
    )
    if int8:
        _quantize(model, path)
    else:
        onnx.save(model, str(path))


def _quantize(model, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "LSTM":
            # ONNX Runtime 1.32 turns the matrices of each LSTM, and so twice those that two share.
            for place in (1, 2):
                copied = model.graph.initializer.add()
                copied.CopyFrom(stored[node.input[place]])
                copied.name = node.input[place] = f"{node.name}_{place}"
    # Convolutions stay: in eight bits ONNX Runtime has only slow ones for scales that change.
    quantize_dynamic(
        model,
        path,
        op_types_to_quantize=["MatMul", "LSTM"],
        per_channel=True,
        reduce_range=True,  # seven bits: on older processors the sums of eight overflow
        weight_type=QuantType.QInt8,
    )


def _as_onnx_lstm(context, node, name, arguments) -> None:
    """Puts ONNX's LSTM in the place of a BlockLSTM of loops.py.

    Both read (time, batch, dim) from given states; the gates stand in the order i, c, f, o there
    and i, o, f, c here. Of the seven results only the hidden states are made.
    """
    from tf2onnx import utils

    def constant(label: str, value: np.ndarray) -> str:
        return context.make_const(utils.make_name(label), np.ascontiguousarray(value)).output[0]

    def ordered(values: np.ndarray) -> np.ndarray:
        i, c, f, o = np.split(values, 4, axis=-1)
        return np.concatenate([i, o, f, c], axis=-1)

    if any(context.find_output_consumers(output) for output in node.output[:-1]):
        raise NotImplementedError("the cell states of an LSTM over a sequence are not converted")
    _, steps, cell, hidden, *_ = node.input
    weights = ordered(node.inputs[4].get_tensor_value(as_list=False))
    bias = ordered(node.inputs[8].get_tensor_value(as_list=False))
    units, output = len(bias) // 4, node.output[-1]
    context.remove_node(node.name)
    axis = constant("axis", np.array([0]))
    states = [context.make_node("Unsqueeze", [state, axis]).output[0] for state in (hidden, cell)]
    matrices = [
        constant("kernel", weights[:-units].T[None]),
        constant("recurrent", weights[-units:].T[None]),
        constant("bias", np.concatenate([bias, np.zeros_like(bias)])[None]),
    ]
    made = context.make_node("LSTM", [steps, *matrices, "", *states], attr={"hidden_size": units})
    directions = constant("axis", np.array([1]))
    context.make_node("Squeeze", [made.output[0], directions], outputs=[output])


def _write_litert(frozen, path: Path, int8: bool) -> None:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], None)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(converter.convert())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the converters print of their own work, on standard error and by logging."""
    before = logging.root.manager.disable
    with tempfile.TemporaryFile() as nowhere, contextlib.ExitStack() as stack:
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        stack.callback(os.dup2, stderr, 2)
        stack.callback(logging.disable, before)
        logging.disable(logging.WARNING)
        os.dup2(nowhere.fileno(), 2)
        yield
