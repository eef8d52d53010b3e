"""The tiny run on a small folder of one's own, without another training."""

import csv
import json
import shutil

import pytest

COLOURS = ["red", "green", "blue", "black", "white", "brown"]


def rows_of(thing, *, right=1):
    """A question with six candidates; the right ones have its word."""
    return [
        (f"what colour is the {thing}?", f"the {thing if place < right else 'sky'} is {colour}",
         int(place < right))
        for place, colour in enumerate(COLOURS)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def own_run(tiny_run, tmp_path_factory, cache_dir):
    """The tiny run with agreement, and other data.

    The three questions of validation: usual, without right, without wrong candidates.
    """
    root = tmp_path_factory.mktemp("own")
    tables = {
        "train": [row for number in range(9) for row in rows_of(f"thing{number}")],
        "validation": rows_of("usual") + rows_of("none", right=0) + rows_of("all", right=6),
    }
    for name, rows in tables.items():
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("question", "candidate", "label"), *rows])
    path = root / "run"
    shutil.copytree(tiny_run("answer_selection"), path)
    options = json.loads((path / "config.json").read_text())
    options["model"]["agreement"] = 8.0
    options["data"] |= {"name": "folder", "root": str(root), "max_questions": None}
    options["data"] |= {"cache_dir": str(cache_dir)}
    (path / "config.json").write_text(json.dumps(options))
    return path
