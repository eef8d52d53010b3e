from typing import Any

# The types that Pyright has of TensorFlow know neither `tensor[..., 0]` nor lists as shapes and
# seeds, and a part of the names only.
def __getattr__(name: str) -> Any: ...
