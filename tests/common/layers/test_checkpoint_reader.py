"""The reader of the one pickle: gives the numbers of the file, and runs nothing that is in it."""

import hashlib
import io
import os
import pickle
import sys
import types

import numpy as np
import pytest

from common.layers.checkpoint_reader import read_checkpoint
from common.runs.errors import UserError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


class RunsACommand:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class TensorWithStrides:
    def __init__(self, *arguments):
        self.arguments = arguments  # storage, offset, shape, strides

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (*self.arguments, False, None)


class Storage(tuple):
    """Pickled by its persistent id, as torch does."""


@pytest.fixture
def float_storage(monkeypatch):
    """Modules with the two names that a pickle of a tensor refers to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    utils._rebuild_tensor_v2 = lambda: None
    utils._rebuild_tensor_v2.__module__ = "torch._utils"
    utils._rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return Storage(("storage", torch.FloatStorage, "7", "cpu", 6, None))


class StoragePickler(pickle.Pickler):
    def persistent_id(self, obj):
        return tuple(obj) if isinstance(obj, Storage) else None


def write_checkpoint(path, tensors, numbers=()):
    """Writes the legacy layout with one storage, key "7"; returns the SHA-256 of the file."""
    stream = io.BytesIO()
    for part in (MAGIC_NUMBER, 1001, {"little_endian": True}, tensors, ["7"] if numbers else []):
        StoragePickler(stream, protocol=2).dump(part)
    if numbers:
        stream.write(np.int64(len(numbers)).tobytes() + np.array(numbers, "<f4").tobytes())
    path.write_bytes(stream.getvalue())
    return hashlib.sha256(stream.getvalue()).hexdigest()


def test_gives_tensors_in_the_order_of_their_strides(tmp_path, float_storage):
    tensors = {
        "rows_first": TensorWithStrides(float_storage, 0, (2, 3), (3, 1)),
        "columns_first": TensorWithStrides(float_storage, 0, (2, 3), (1, 2)),
        "tail": TensorWithStrides(float_storage, 4, (2,), (1,)),
        "scalar": TensorWithStrides(float_storage, 5, (), ()),
    }
    sha256 = write_checkpoint(tmp_path / "weights.pth", tensors, numbers=range(6))
    read = read_checkpoint(tmp_path / "weights.pth", sha256=sha256)
    np.testing.assert_array_equal(read["rows_first"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(read["columns_first"], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(read["tail"], [4, 5])
    np.testing.assert_array_equal(read["scalar"], 5)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(5, (2,), (1,)), (0, (7,), (1,)), (0, (2, 3), (3, 2)), (5, (3,), (-1,)), (-1, (2,), (1,))],
)
def test_refuses_a_tensor_that_leaves_its_storage(tmp_path, float_storage, offset, shape, strides):
    tensors = {"outside": TensorWithStrides(float_storage, offset, shape, strides)}
    sha256 = write_checkpoint(tmp_path / "weights.pth", tensors, numbers=range(6))
    with pytest.raises(ValueError, match="inside its 6 numbers"):
        read_checkpoint(tmp_path / "weights.pth", sha256=sha256)


def test_refuses_a_pickle_that_names_a_command_and_does_not_run_it(tmp_path):
    trace = tmp_path / "was_run"
    sha256 = write_checkpoint(tmp_path / "weights.pth", RunsACommand(f"echo > {trace}"))
    with pytest.raises(pickle.UnpicklingError, match=r"refused to load \w+\.system"):
        read_checkpoint(tmp_path / "weights.pth", sha256=sha256)
    assert not trace.exists()


@pytest.mark.parametrize("value", [pytest.raises, np.float32(1), print, types.SimpleNamespace()])
def test_refuses_names_that_look_harmless(tmp_path, value):
    sha256 = write_checkpoint(tmp_path / "weights.pth", {"weight": value})
    with pytest.raises(pickle.UnpicklingError, match="refused to load"):
        read_checkpoint(tmp_path / "weights.pth", sha256=sha256)


def test_a_changed_byte_is_a_wrong_checksum(tmp_path):
    path = tmp_path / "weights.pth"
    sha256 = write_checkpoint(path, {})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=rf"weights\.pth: expected SHA-256 {sha256}, got "):
        read_checkpoint(path, sha256=sha256)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.pth: no such file"):
        read_checkpoint(tmp_path / "nothing.pth", sha256="0" * 64)
