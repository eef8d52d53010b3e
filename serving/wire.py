"""TensorFlow Serving's JSON to arrays and back.

https://www.tensorflow.org/tfx/serving/api_rest: "instances" (rows) or "inputs" (columns),
"signature_name", and {"b64": ...} for bytes. What it refuses is refused here with the same status,
and beyond that NaN and infinite numbers in a request, and empty lists.
"""

import base64
import binascii
import codecs
import json
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import orjson

from serving.errors import RequestError
from serving.signatures import DEFAULT, Field, Signature

Arrays = dict[str, np.ndarray]
MAX_RANK = 8  # of an input whose rank the signature leaves free


class Parsed(NamedTuple):
    """A request: signature name, inputs, and whether the answer is to come in rows."""

    signature: str
    inputs: Arrays
    rows: bool


def parse(body: bytes, signatures: dict[str, Signature]) -> Parsed:
    """Reads a request's body.

    Raises:
        RequestError: 400, with what is wrong.
    """
    try:
        encoding = json.detect_encoding(body)
        if encoding not in ("utf-8", "utf-8-sig"):
            raise RequestError(f"JSON Parse error: expected UTF-8, got {encoding}")
        document = orjson.loads(body.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise RequestError(f"JSON Parse error: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise RequestError("JSON Value: Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise RequestError("'signature_name' key must be a string value.")
    name = name or DEFAULT
    if name not in signatures:
        raise RequestError(f'Serving signature name: "{_short(name)}" not found in signature def')
    fields = signatures[name].inputs
    if ("instances" in document) == ("inputs" in document):
        number = "both" if "instances" in document else "neither"
        raise RequestError(f"expected one of 'inputs' and 'instances', got {number}")
    rows = "instances" in document
    columns = _by_rows(document["instances"], fields) if rows else _columns(document, fields)
    return Parsed(name, {key: _array(key, columns[key], fields[key]) for key in fields}, rows)


def encode(outputs: Arrays, rows: bool) -> bytes:
    """The answer to a request, as a body.

    Raises:
        RequestError: 400, an output without a batch was asked for in rows, or JSON has no form for
            an output.
    """
    outputs = {name: _plain(name, values) for name, values in outputs.items()}
    listed = {name: _listed(name, values) for name, values in outputs.items()}
    content = next(iter(listed.values())) if len(listed) == 1 else listed
    if rows:
        _check_rows(outputs)
        if len(listed) != 1:
            content = [
                dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)
            ]
    answer = {"predictions" if rows else "outputs": content}
    if all(values.dtype.kind != "f" or np.isfinite(values).all() for values in outputs.values()):
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    # NaN and Infinity as TensorFlow Serving writes them, which is not JSON.
    return json.dumps(answer, ensure_ascii=False, default=lambda values: values.tolist()).encode()


def _by_rows(instances: object, fields: dict[str, Field]) -> dict[str, list]:
    if not isinstance(instances, list):
        raise RequestError("Excepting 'instances' to be an list/array")
    if not instances:
        raise RequestError("No values in 'instances' array")
    named = isinstance(instances[0], dict) and not _is_b64(instances[0])
    if not named and len(fields) != 1:
        raise RequestError(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    for number, instance in enumerate(instances):
        if (isinstance(instance, dict) and not _is_b64(instance)) != named:
            raise RequestError(f"item {number} of 'instances': objects and values are mixed")
        if named and instance.keys() != fields.keys():
            raise RequestError(
                f"Failed to process element: {number} of 'instances' list. keys must be equal to: "
                + ",".join(fields)
            )
    if named:
        return {name: [instance[name] for instance in instances] for name in fields}
    return {next(iter(fields)): instances}


def _columns(document: dict, fields: dict[str, Field]) -> dict[str, object]:
    inputs = document["inputs"]
    if not isinstance(inputs, dict) or _is_b64(inputs):
        if len(fields) != 1:
            raise RequestError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        return {next(iter(fields)): inputs}
    for name in fields:
        if name not in inputs:
            raise RequestError(f"Missing named input: {name} in 'inputs' object.")
    return inputs


def _is_b64(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _array(name: str, value: object, field: Field) -> np.ndarray:
    flat: list[Any] = [value]
    shape: list[int] = []
    while isinstance(flat[0], list):
        size = len(flat[0])
        if not size:
            raise RequestError(f"{name}: expected values, got an empty list")
        if len(shape) == (MAX_RANK if field.shape is None else len(field.shape)):
            raise RequestError(f"{name}: Encountered list at unexpected level: {len(shape)}")
        if not all(isinstance(part, list) and len(part) == size for part in flat):
            raise RequestError(f"{name}: expected lists of one size at level {len(shape)}")
        shape.append(size)
        flat = flat[0] if len(flat) == 1 else [item for part in flat for item in part]
    if not _fits(shape, field):
        sizes = ",".join("-1" if size is None else str(size) for size in field.shape or ())
        raise RequestError(f"{name}: expected shape [{sizes}], got {shape}")
    values = _strings(name, flat) if field.dtype == object else _numbers(name, flat, field.dtype)
    return values.reshape(shape)


def _fits(shape: list[int], field: Field) -> bool:
    return field.shape is None or (
        len(shape) == len(field.shape)
        and all(size in (None, got) for size, got in zip(field.shape, shape, strict=True))
    )


def _strings(name: str, flat: list) -> np.ndarray:
    values = np.empty(len(flat), object)
    for index, value in enumerate(flat):
        if isinstance(value, str):
            values[index] = value.encode()
        elif _is_b64(value):
            values[index] = _from_base64(value["b64"])
        else:
            kind = type(value).__name__
            raise RequestError(
                f"{name}: expected a string or an object with one key 'b64', got {kind}"
            )
    return values


def _from_base64(text: str) -> bytes:
    packed = "".join(text.split()).rstrip("=")  # padding and white space are optional
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise RequestError("Unable to base64 decode") from None


def _numbers(name: str, flat: list, dtype: np.dtype) -> np.ndarray:
    kinds, kind = set(map(type, flat)), _kind(dtype)
    allowed = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}.get(kind)
    if allowed is None:
        raise RequestError(f"{name}: JSON has no form for its type ({dtype.name})")
    if not kinds <= allowed:
        got = ", ".join(sorted(kind.__name__ for kind in kinds - allowed))
        raise RequestError(f"{name}: expected {dtype.name}, got a value of JSON type {got}")
    try:
        with np.errstate(over="ignore"):
            values = np.array(flat, dtype)
        if kind == "i" and dtype.kind == "V" and values.tolist() != flat:  # they wrap around
            raise OverflowError
    except OverflowError:
        raise RequestError(f"{name}: expected {dtype.name}, got a number out of range") from None
    if kind == "f":
        whole = 2 ** (ml_dtypes.finfo(dtype).nmant + 1)  # above, integers would be rounded
        lossy = int in kinds and any(type(n) is int and abs(n) >= whole for n in flat)
        if lossy or not np.isfinite(values).all():
            raise RequestError(
                f"{name}: Cannot convert JSON value to {dtype.name} without loss of precision."
            )
    return values


def _kind(dtype: np.dtype) -> str:
    """NumPy's letter; that of a float or an integer for bfloat16 and the like, too."""
    if dtype.isbuiltin != 2:
        return dtype.kind
    return "i" if "int" in dtype.name else "f"


def _plain(name: str, values: np.ndarray) -> np.ndarray:
    """The values as a type that orjson knows."""
    kind = _kind(values.dtype)
    if kind not in "Obiuf":
        raise RequestError(f"{name}: JSON has no form for its type ({values.dtype.name})")
    narrow = values.dtype.isbuiltin == 2
    return values.astype(np.float32 if kind == "f" else np.int8) if narrow else values


def _check_rows(outputs: Arrays) -> None:
    sizes = {name: values.shape[:1] for name, values in outputs.items()}
    for name, size in sizes.items():
        if not size:
            raise RequestError(f"Tensor name: {name} has no shape information: use 'inputs'")
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size[0]}" for name, size in sizes.items())
        raise RequestError(f"outputs have inconsistent batch size ({listed}): use 'inputs'")


def _listed(name: str, values: np.ndarray) -> np.ndarray | list | str:
    if values.dtype != object:
        return np.ascontiguousarray(values) if values.ndim else values.tolist()
    if name.endswith("_bytes"):
        texts = [{"b64": base64.b64encode(value).decode()} for value in values.reshape(-1)]
    else:
        texts = [value.decode(errors="replace") for value in values.reshape(-1)]
    listed = np.empty(len(texts), object)
    listed[:] = texts
    return listed.reshape(values.shape).tolist()


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "..."
