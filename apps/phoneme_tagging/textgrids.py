"""Praat's TextGrid format: one tier of phones."""

from collections.abc import Sequence
from typing import Protocol


class Timed(Protocol):
    """A phone and its time in seconds."""

    @property
    def phone(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


def as_textgrid(phones: Sequence[Timed]) -> str:
    """The long text form with a tier "phones"; the phones follow each other without gaps."""
    end = phones[-1].end_s
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end}",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        '        name = "phones"',
        "        xmin = 0",
        f"        xmax = {end}",
        f"        intervals: size = {len(phones)}",
    ]
    for number, one in enumerate(phones, start=1):
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {one.start_s}",
            f"            xmax = {one.end_s}",
            f'            text = "{one.phone}"',
        ]
    return "\n".join(lines) + "\n"
