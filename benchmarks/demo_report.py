"""The page that the demo leaves: what every app found, beside what blind rivals found."""

import dataclasses
import html
from collections.abc import Mapping
from pathlib import Path

from common.runs import files
from common.scoring.evaluation import Evaluation

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem }
table { border-collapse: collapse; font-size: .9rem; display: block; overflow-x: auto }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd;
  font-weight: normal }
th:first-child, td:first-child { text-align: left }
thead th { color: #666 }
tr.model * { font-weight: bold }
img { max-width: 100%; border: 1px solid #ddd }
h2 { margin-top: 3rem }
code { overflow-wrap: anywhere }
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """What the demo found of one app.

    Attributes:
        evaluation: on the test part.
        floors: metric -> least value.
        cores: number of the processor's cores that the app had.
        minutes: wall time of training alone, and of all its commands.
        peak_gib: the most memory that training held.
        said: the example that the SavedModel was asked, and its answer.
    """

    evaluation: Evaluation
    floors: dict[str, float]
    cores: int
    minutes: tuple[float, float]
    peak_gib: float
    said: str


def write(shown: Mapping[str, Shown], *, minutes: float, folder: Path) -> Path:
    """Writes `folder`/report.html, which shows the pictures of the runs beside it."""
    path = folder / "report.html"
    parts = [_section(app, one, folder) for app, one in shown.items()]
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Cellstate: the demo</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>Cellstate: the demo</h1>
<p>Every app on its default data, one seed, {minutes:.1f} minutes in all. The figures are of the
test part, which no choice was made on; the rivals below each model are blind to what counts.</p>
{"".join(parts)}</body></html>
"""
    with files.replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _section(app: str, one: Shown, folder: Path) -> str:
    tested, said = one.evaluation, html.escape(one.said)
    names = list(tested.metrics)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *names))
    rows = _row("model", tested.metrics, names, "model")
    rows += "".join(_row(rival, found, names, "") for rival, found in tested.baselines.items())
    floors = ", ".join(f"{metric} at least {floor}" for metric, floor in one.floors.items())
    cores = f"{one.cores} core" if one.cores == 1 else f"{one.cores} cores"
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in tested.notes)
    shows = {"training.png": "Learning curves", "example.png": "What it attends to in an example"}
    pictures = "".join(
        f'<p><img src="{app}/{name}" alt="{words}: {app}"></p>'
        for name, words in shows.items()
        if (folder / app / name).exists()
    )
    count = f"{tested.num_examples:,} test examples"
    training, all_commands = (f"{minutes:.1f} minutes" for minutes in one.minutes)
    return f"""<h2>{app}</h2>
<p>{html.escape(tested.data)}, {count}; {training} of training, {all_commands} in all on {cores},
{one.peak_gib:.1f} GiB. The demo demands {floors}.</p>
<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{notes}
<p>The SavedModel, asked: <code>{said}</code></p>
{pictures}
"""


def _row(label: str, found: Mapping[str, float], names: list[str], kind: str) -> str:
    cells = "".join(
        f"<td>{found[name]:.4f}</td>" if name in found else "<td></td>" for name in names
    )
    return f'<tr class="{kind}"><th>{html.escape(label.replace("_", " "))}</th>{cells}</tr>\n'
