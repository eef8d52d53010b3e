"""Runs a model file beside this one: NumPy arrays in and out, by ONNX Runtime or LiteRT."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


class Network:
    """A model file, NAME.onnx or NAME.tflite.

    Args:
        folder: of the export.
        name: of the file, without its ending.
        threads: that it may use; those of the machine if None.

    Attributes:
        most_rows: that it takes at a time.
        settings: what `export` left for runtime.py.
    """

    def __init__(self, folder: Path, name: str = "model", *, threads: int | None = None):
        self.settings = json.loads((folder / "settings.json").read_text(encoding="utf-8-sig"))
        self.outputs = self.settings["outputs"][name]
        if (folder / f"{name}.onnx").exists():
            import onnxruntime

            onnxruntime.set_default_logger_severity(3)  # errors
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads or 0
            path = str(folder / f"{name}.onnx")
            self.most_rows = sys.maxsize
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        else:
            from ai_edge_litert.interpreter import Interpreter

            self.most_rows = 1
            self.session = None
            self.interpreter = Interpreter(
                model_path=str(folder / f"{name}.tflite"), num_threads=threads or os.cpu_count()
            )
            self.indices = {
                detail["name"]: detail["index"] for detail in self.interpreter.get_input_details()
            }
            self.shapes = {}

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name, of the inputs by name."""
        if self.session is not None:
            arrays: Any = self.session.run(self.outputs, inputs)
            return dict(zip(self.outputs, arrays, strict=True))
        shapes = {name: value.shape for name, value in inputs.items()}
        if shapes != self.shapes:
            for name, shape in shapes.items():
                self.interpreter.resize_tensor_input(self.indices[name], shape)
            self.interpreter.allocate_tensors()
            self.shapes = shapes
        for name, value in inputs.items():
            self.interpreter.set_tensor(self.indices[name], value)
        self.interpreter.invoke()
        details = self.interpreter.get_output_details()
        arrays = [self.interpreter.get_tensor(detail["index"]) for detail in details]
        return dict(zip(self.outputs, arrays, strict=True))


def read_lines(path: Path) -> list[str]:
    """A vocabulary: a token a line."""
    with path.open(encoding="utf-8-sig") as file:
        return file.read().split("\n")[:-1]
