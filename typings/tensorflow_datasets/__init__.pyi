from typing import Any

# Its own types lose the arguments of what decorators wrap, and the class of `builder_config`.
def __getattr__(name: str) -> Any: ...
