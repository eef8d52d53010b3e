"""Reads a legacy PyTorch checkpoint without torch: one known file -> {tensor name: array}.

The layout (https://github.com/pytorch/pytorch/blob/main/torch/serialization.py, `_legacy_save`) is
five pickles - magic number, protocol, system facts, tensors by name, storage keys - and then, for
each key, an int64 count and that many raw little-endian numbers.
A pickle may run any code, so the file is checked by SHA-256 first and read by an unpickler that
accepts the names of tensors and no others.
"""

import hashlib
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.runs.errors import UserError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_STORAGE_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Storage(NamedTuple):
    key: str
    dtype: str


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int  # this and the strides count numbers, not bytes
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage, offset, shape, strides, requires_grad, hooks) -> _Tensor:
    """Stands in for `torch._utils._rebuild_tensor_v2`; the numbers come later in the file."""
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _TensorUnpickler(pickle.Unpickler):
    """Resolves ordered dictionaries, storages and tensors; refuses every other name."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(
            f"refused to load {module}.{name}: a checkpoint may name only OrderedDict, "
            f"_rebuild_tensor_v2 and {', '.join(_STORAGE_DTYPES)}"
        )

    def persistent_load(self, pid):
        kind, dtype, key, _device, _count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"expected a whole storage, got {pid!r}")
        return _Storage(key, dtype)


def read_checkpoint(path: Path, *, sha256: str) -> dict[str, np.ndarray]:
    """Reads the tensors of a legacy checkpoint whose bytes are known.

    Returns:
        Tensors by name, float32 or int64, in PyTorch's own axis order.

    Raises:
        UserError: If the file is missing or has another SHA-256.
        pickle.UnpicklingError: If it names anything but tensors.
        ValueError: If the checksum is right but the layout is not the legacy one.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a checkpoint with SHA-256 {sha256}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise UserError(
            f"{path}: expected SHA-256 {sha256}, got {digest}; the file is damaged or from another "
            "release: reinstall the package that holds it"
        )
    stream = io.BytesIO(content)
    magic_number, _protocol, _system, tensors, keys = (
        _TensorUnpickler(stream).load() for _ in range(5)
    )
    if magic_number != _MAGIC_NUMBER:
        raise ValueError(f"{path}: expected the legacy checkpoint layout, got {magic_number!r}")

    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {}
    for key in keys:
        dtype = np.dtype(dtypes[key])
        count = int(np.frombuffer(stream.read(8), "<i8")[0])
        storages[key] = np.frombuffer(stream.read(count * dtype.itemsize), dtype, count)
    return {name: _view(storages[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _view(numbers: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """Cuts one tensor out of its storage; strides may permute it, never leave the storage."""
    steps = [(size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True)]
    if min([tensor.offset, *steps]) < 0 or tensor.offset + sum(steps) >= numbers.size:
        raise ValueError(f"expected a tensor inside its {numbers.size} numbers, got {tensor}")
    return np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :],
        tensor.shape,
        [step * numbers.itemsize for step in tensor.strides],
        writeable=False,
    )
