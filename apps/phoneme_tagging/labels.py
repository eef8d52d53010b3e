"""Labels of one's own files to the 61 phones of TIMIT.

TIMIT's names and ARPAbet (upper or lower case, with or without stress) need no table; others come
from a text file with a line `label phone` each, `label -` for what is no phone, "" for no label.
"""

from collections.abc import Mapping
from pathlib import Path

from apps.phoneme_tagging.phones import PHONES_61
from common.runs.errors import UserError

NO_PHONE = "-"  # its frames are neither trained on nor scored
_OTHERS = {"ah0": "ax", "er0": "axr"} | dict.fromkeys(["", "sil", "sp", "<sil>", "pause"], "pau")


def read_map(path: Path | None) -> dict[str, str]:
    """The table of a file (see the module), empty without one.

    Raises:
        UserError: the file is absent, or a line is not `label phone`.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise UserError(f"expected a file for --data.phone-map, found none at {path}")
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or fields[1] not in (*PHONES_61, NO_PHONE):
            raise UserError(
                f"{path}, line {number}: expected `label phone` with one of the 61 phones of "
                f"phones.py or {NO_PHONE}, got {line!r}"
            )
        found["" if fields[0] == '""' else fields[0]] = fields[1]
    return found


def phone(label: str, table: Mapping[str, str]) -> str | None:
    """The phone that a label stands for; None where the table says that it is none.

    Raises:
        ValueError: the label is unknown; names the table to extend.
    """
    if label in table:
        return None if table[label] == NO_PHONE else table[label]
    name = label.lower()
    for one in (_OTHERS.get(name, name), name.rstrip("012")):
        if one in PHONES_61:
            return one
    shown = label or '""'
    raise ValueError(
        f"unknown phone {label!r}: add a line `{shown} PHONE` with one of the 61 of phones.py, or "
        f"`{shown} {NO_PHONE}`, to the file of --data.phone-map"
    )
