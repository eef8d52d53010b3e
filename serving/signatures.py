"""Reads what a SavedModel takes and gives: its signatures, and what card.json says of them.

A signature knows names, dtypes and shapes. The card adds the names of the dimensions, "float32
(batch, samples)", and what strings hold, "JPEG, PNG or BMP bytes": from these follow which
requests can share a batch, what may be padded, and which limits apply.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

DEFAULT = "serving_default"
_FIELD = re.compile(r"(?:(\w+) )?\b(string|bool|u?int\d+|float\d+) \(([^)]*)\)")


@dataclass(frozen=True)
class Field:
    """One input or output.

    Attributes:
        dtype: NumPy's; object for strings.
        shape: None where a size is free; None when the rank is.
        dims: names of the dimensions by the card, a number where it names none; () when unknown.
        text: what the card says of the content.
    """

    dtype: np.dtype
    shape: tuple[int | None, ...] | None
    dims: tuple[str, ...]
    text: str

    @property
    def batched(self) -> bool:
        return self.dims[:1] == ("batch",)

    @property
    def free(self) -> dict[str, int]:
        """Axes of free size by the name of the dimension, but for the batch."""
        sizes = zip(self.dims, self.shape or (), strict=False)
        return {
            name: axis
            for axis, (name, size) in enumerate(sizes)
            if size is None and name != "batch"
        }


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs by name, in alphabetical order."""

    inputs: dict[str, Field]
    outputs: dict[str, Field]

    @cached_property
    def batchable(self) -> bool:
        """Whether requests can be joined along "batch" and their answers told apart again."""
        known = all(field.dims for field in (*self.inputs.values(), *self.outputs.values()))
        if not (known and self.inputs and all(field.batched for field in self.inputs.values())):
            return False
        per_row = [field for field in self.outputs.values() if field.batched]
        shared = {name for field in per_row for name in field.free}
        others = [field for field in self.outputs.values() if not field.batched]
        return bool(per_row) and all(set(field.free) <= shared for field in others)

    @cached_property
    def lengths(self) -> dict[str, tuple[str, int]]:
        """Inputs that zeros can lengthen without another answer -> (input of lengths, axis).

        Those with a free dimension D beside an integer input num_D (batch,).
        """
        return {
            name: (f"num_{dim}", axis)
            for name, field in self.inputs.items()
            for dim, axis in field.free.items()
            if f"num_{dim}" in self.inputs and self.inputs[f"num_{dim}"].dims == ("batch",)
        }


def read_meta_graph(folder: Path) -> meta_graph_pb2.MetaGraphDef:
    """The graph tagged "serve".

    Raises:
        ValueError: there is none, or saved_model.pb is cut short.
    """
    try:
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:  # protobuf's own kind of error, which differs between its versions
        raise ValueError(f"saved_model.pb cannot be read: {error}") from None
    for graph in saved.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return graph
    raise ValueError('saved_model.pb has no graph tagged "serve"')


def read_card(folder: Path) -> dict:
    """assets.extra/card.json; empty when there is none."""
    path = folder / "assets.extra" / "card.json"
    if not path.exists():
        return {}
    card = json.loads(path.read_text(encoding="utf-8"))
    return card if isinstance(card, dict) else {}


def read_signatures(graph: meta_graph_pb2.MetaGraphDef, card: dict) -> dict[str, Signature]:
    """Signatures for prediction by name."""
    found = {}
    for name, definition in graph.signature_def.items():
        if definition.method_name == "tensorflow/serving/predict":
            inputs, outputs = _described(card, name)
            found[name] = Signature(
                _fields(definition.inputs, inputs), _fields(definition.outputs, outputs)
            )
    return found


def _described(card: dict, name: str) -> tuple[dict, dict]:
    """What the card says of the inputs and outputs of a signature: name -> (dims, text)."""
    inputs = {key: f"{key} {text}" for key, text in dict(card.get("inputs", {})).items()}
    outputs = {key: f"{key} {text}" for key, text in dict(card.get("outputs", {})).items()}
    if name != DEFAULT:
        line = str(dict(card.get("signatures", {})).get(name, ""))
        taken, _, given = line.partition("->")
        inputs = {"": taken}
        if "the same outputs" not in given:
            outputs = {"": given}
    return _parsed(inputs), _parsed(outputs)


def _parsed(lines: dict[str, str]) -> dict[str, tuple[tuple[str, ...], str]]:
    found = {}
    for line in lines.values():
        matches = list(_FIELD.finditer(line))
        for match, following in zip(matches, [*matches[1:], None], strict=False):
            dims = tuple(dim.strip() for dim in match[3].split(",") if dim.strip())
            text = line[match.end() : following.start() if following else None]
            found.setdefault(match[1], (dims, text))
    return found


def _fields(infos, described: dict) -> dict[str, Field]:
    fields = {}
    for name in sorted(infos):
        shape = tf.TensorShape(infos[name].tensor_shape)
        sizes = None if shape.rank is None else tuple(shape.as_list())
        dims, text = described.get(name, ((), ""))
        if sizes is None or len(dims) != len(sizes):
            dims = ()
        dtype = np.dtype(tf.dtypes.as_dtype(infos[name].dtype).as_numpy_dtype)
        fields[name] = Field(dtype, sizes, dims, text)
    return fields
