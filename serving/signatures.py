"""Reads what a SavedModel takes and gives: its signatures, and what card.json says of them.

A signature has names, dtypes and shapes. The card (common/export/card.py writes it) adds the names
of the dimensions and what strings and numbers hold: from these follow which requests can share a
batch, what may be padded, which limits apply, and what the page shows. Of the card's prose nothing
is read. Without a card, or with one that has prose alone, requests are answered one by one.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import ml_dtypes
import numpy as np

DEFAULT = "serving_default"
_DTYPES = {"DT_STRING": "object", "DT_FLOAT": "float32", "DT_DOUBLE": "float64"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One input or output.

    Attributes:
        dtype: NumPy's or that of ml_dtypes; object for strings, void for what JSON cannot hold.
        shape: None where a size is free; None when the rank is.
        dims: names of the dimensions by the card, a number where it names none; () when unknown.
        description: for people.
        media_type: what strings hold, "text/plain", "image/*" or "audio/wav"; "" when unknown.
        formats: of images; () for any.
        sample_rate: of sound, in Hz; 0 for what is no sound.
        max_pixels: of an image.
        min_samples: of sound.
    """

    dtype: np.dtype
    shape: tuple[int | None, ...] | None
    dims: tuple[str | int, ...] = ()
    description: str = ""
    media_type: str = ""
    formats: tuple[str, ...] = ()
    sample_rate: int = 0
    max_pixels: int | None = None
    min_samples: int = 0

    @property
    def batched(self) -> bool:
        return self.dims[:1] == ("batch",)

    @property
    def free(self) -> dict[str, int]:
        """Axes of free size by the name of the dimension, but for the batch."""
        sizes = zip(self.dims, self.shape or (), strict=False)
        return {
            str(name): axis
            for axis, (name, size) in enumerate(sizes)
            if size is None and name != "batch"
        }


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs by name, in the order of the card."""

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


def read_definitions(folder: Path) -> dict[str, dict]:
    """The signatures of a SavedModel by name, as the server gives them for metadata."""
    from google.protobuf import json_format

    return {
        name: json_format.MessageToDict(
            definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, definition in read_graph(folder).signature_def.items()
    }


def read_graph(folder: Path):
    """The graph for serving, a MetaGraphDef: of several, the one with the fewest tags.

    Raises:
        ValueError: saved_model.pb is cut short, or has no such graph.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    encoded = (folder / "saved_model.pb").read_bytes()
    try:
        graphs = saved_model_pb2.SavedModel.FromString(encoded).meta_graphs
    except Exception as error:  # protobuf's own kind of error, which differs between its versions
        raise ValueError(f"saved_model.pb cannot be read: {error}") from None
    graphs = [graph for graph in graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        raise ValueError('saved_model.pb has no graph tagged "serve"')
    return min(graphs, key=lambda graph: len(graph.meta_info_def.tags))


def read_card(folder: Path) -> dict:
    """assets.extra/card.json; empty when there is none.

    Raises:
        ValueError: it is not JSON.
    """
    path = folder / "assets.extra" / "card.json"
    if not path.exists():
        return {}
    card = json.loads(path.read_text(encoding="utf-8"))
    return card if isinstance(card, dict) else {}


def read_signatures(definitions: dict[str, dict], card: dict) -> dict[str, Signature]:
    """Signatures for prediction by name, from `read_definitions` and a card."""
    return {
        name: Signature(
            *(
                _fields(definition[part], _described(card, name, part))
                for part in ("inputs", "outputs")
            )
        )
        for name, definition in sorted(definitions.items())
        if definition["method_name"] == "tensorflow/serving/predict"
    }


def _described(card: dict, signature: str, part: str) -> dict:
    """The fields of the card for the "inputs" or "outputs" of a signature."""
    if signature != DEFAULT:
        card = _mapping(_mapping(card.get("signatures")).get(signature))
    return _mapping(card.get(part))


def _mapping(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _fields(tensors: dict[str, dict], described: dict) -> dict[str, Field]:
    names = [name for name in described if name in tensors]
    names += sorted(set(tensors) - set(names))
    return {name: _field(tensors[name], described.get(name, "")) for name in names}


def _field(tensor: dict, entry: dict | str) -> Field:
    if "tensor_shape" not in tensor:  # ragged or sparse
        return Field(dtype=np.dtype("V"), shape=None)
    sizes = [int(dim["size"]) for dim in tensor["tensor_shape"]["dim"]]
    shape = tuple(None if size < 0 else size for size in sizes)
    if tensor["tensor_shape"]["unknown_rank"]:
        shape = None
    dtype = _dtype(tensor["dtype"])
    if not isinstance(entry, dict):  # prose, or nothing
        return Field(dtype=dtype, shape=shape, description=str(entry))
    dims = tuple(entry.get("dims", ()))
    return Field(
        dtype=dtype,
        shape=shape,
        dims=dims if shape is not None and len(dims) == len(shape) else (),
        formats=tuple(entry.get("formats", ())),
        **{
            key: entry[key]
            for key in ("description", "media_type", "sample_rate", "max_pixels", "min_samples")
            if key in entry
        },
    )


def _dtype(name: str) -> np.dtype:
    """NumPy's for TensorFlow's "DT_INT32"; void for one that NumPy does not have."""
    name = _DTYPES.get(name) or name.removeprefix("DT_").lower()
    try:
        return np.dtype(getattr(ml_dtypes, name, name))
    except TypeError:
        return np.dtype("V")
