"""A tiny run, and small data sets in the official layouts."""

import gzip
import json
from pathlib import Path

import pytest

from apps.translation import predict
from common.runs import files

COLOURS = {"red": "rote", "green": "grüne", "blue": "blaue", "old": "alte"}
THINGS = {"door": "Tür", "lamp": "Lampe", "flower": "Blume", "bottle": "Flasche"}
PAIRS = [
    (f"The {a} {b} number {n}.", f"Die {COLOURS[a]} {THINGS[b]} Nummer {n}.")
    for n in range(4)
    for a in COLOURS
    for b in THINGS
]


@pytest.fixture(scope="session")
def translation_run(tiny_run) -> Path:
    return tiny_run("translation")


@pytest.fixture(scope="session")
def predictor(translation_run) -> predict.Predictor:
    return predict.Predictor.load(translation_run)


@pytest.fixture
def multi30k(tmp_path) -> Path:
    """The files of task 1, English and German, some packed."""
    root = tmp_path / "multi30k"
    root.mkdir()
    for name, pairs in (
        ("train", PAIRS[:48]),
        ("val", PAIRS[48:56]),
        ("test_2016_flickr", PAIRS[56:]),
    ):
        for place, language in enumerate(("en", "de")):
            lines = "".join(f"{pair[place]}\n" for pair in pairs).encode()
            (root / f"{name}.{language}.gz").write_bytes(gzip.compress(lines))
    (root / "test_2016_flickr.en.gz").unlink()
    (root / "test_2016_flickr.en").write_text("".join(f"{pair[0]}\n" for pair in PAIRS[56:]))
    return root


@pytest.fixture
def tatoeba(tmp_path) -> Path:
    """A list of manythings.org, in which a source has two translations."""
    root = tmp_path / "tatoeba"
    root.mkdir()
    rows = [
        f"{source}\t{target}\tCC-BY 2.0" for source, target in [*PAIRS, ("The door.", "Die Tür.")]
    ]
    rows.append("The door.\tDas Tor.\tCC-BY 2.0")
    (root / "deu.txt").write_text("\n".join(rows) + "\n")
    (root / "_about.txt").write_text("where it is from")
    return root


@pytest.fixture
def home_assistant(tmp_path, monkeypatch) -> Path:
    """A package with the translations of some parts of the interface."""
    root = tmp_path / "homeassistant"
    for number in range(40):
        folder = root / "components" / ("sun" if number == 0 else f"part{number}") / "translations"
        folder.mkdir(parents=True)
        english = "Turn on light", "Same text", "See https://x.y now", "On"
        german = "Licht einschalten", "Same text", "Siehe https://x.y jetzt", "An"
        for language, (first, *others) in {"en": english, "de": german}.items():
            content = {"entity": {"a": {"name": f"{first} {number}"}, "b": others[0]}}
            content |= {"c": others[1], "d": others[2]}
            (folder / f"{language}.json").write_text(json.dumps(content))
        (folder / "sensor.en.json").write_text(json.dumps({"state": "Light is on now"}))
        (folder / "sensor.de.json").write_text(json.dumps({"state": "Licht ist jetzt an"}))
    monkeypatch.setattr(files, "package_folder", lambda module, requirement: root)
    return root
