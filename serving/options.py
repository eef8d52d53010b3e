"""What a server allows and how it works, as options of its command; imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Any


def _option(default: float, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class _Positive:
    """Raises ValueError for an option that is not above zero."""

    def __post_init__(self):
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"--{name.replace('_', '-')}: expected above 0, got {value}")


@dataclass(frozen=True, kw_only=True)
class Limits(_Positive):
    """How much a request may ask for."""

    max_request_mib: float = _option(16.0, "bytes of a request, in MiB")
    max_rows: int = _option(128, "rows of a request: images, or candidates of one question")
    max_megapixels: float = _option(24.0, "pixels of all images of a request together")
    max_characters: int = _option(4000, "characters of one text")
    max_audio_s: float = _option(120.0, "seconds of sound in a request, with its padding")
    timeout_s: float = _option(30.0, "from the arrival of a request to its answer")

    @property
    def max_bytes(self) -> int:
        return int(self.max_request_mib * 2**20)


@dataclass(frozen=True, kw_only=True)
class Settings(_Positive):
    """How the server works."""

    max_batch: int = _option(8, "rows that requests are joined to; 1 turns batching off")
    max_queue: int = _option(256, "rows that may wait for one signature")
    threads: int = _option(2, "runs at the same time of what cannot be joined")
    poll_s: float = _option(2.0, "seconds between two looks for new versions")
    stop_s: float = _option(60.0, "seconds that accepted requests get when the server is stopped")
