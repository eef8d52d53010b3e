from typing import Any

# Keras says of most operations that they may return None.
def __getattr__(name: str) -> Any: ...
