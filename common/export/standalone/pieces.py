"""Text to word pieces and back: the twin of common/inputs/subwords.py."""

import re
import unicodedata
from collections.abc import Sequence

_BYTE = re.compile("<0x([0-9A-F]{2})>")
_SPECIAL = re.compile(r"<\w+>")


def normalise(text: str) -> str:
    """Characters composed, runs of spaces and control characters one space, none at the ends."""
    composed = unicodedata.normalize("NFC", text)
    return re.sub(" +", " ", "".join(" " if _is_space(c) else c for c in composed)).strip(" ")


def _is_space(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind[0] == "Z" or kind == "Cc" or character == "\ufeff"


class Pieces:
    """Encodes and decodes with the pieces of a vocabulary file.

    Args:
        tokens: its lines.
    """

    def __init__(self, tokens: Sequence[str]):
        self.written = [_as_bytes(token) for token in tokens]
        self.ids = {piece: number for number, piece in enumerate(self.written) if piece}
        self.longest = max(map(len, self.written))

    def encode(self, text: str) -> list[int]:
        """The longest piece that matches, again and again; none of an empty text."""
        rest = normalise(text)
        data, ids, place = f" {rest}".encode() if rest else b"", [], 0
        while place < len(data):
            size = min(self.longest, len(data) - place)
            while data[place : place + size] not in self.ids:
                size -= 1
            ids.append(self.ids[data[place : place + size]])
            place += size
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special tokens give nothing."""
        return b"".join(self.written[number] for number in ids).decode(errors="ignore").strip()


def _as_bytes(token: str) -> bytes:
    if byte := _BYTE.fullmatch(token):
        return bytes([int(byte[1], 16)])
    return b"" if _SPECIAL.fullmatch(token) else token.encode()
