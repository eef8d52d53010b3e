"""Trains the small preset of an app with several seeds and writes its README's first table.

    python -m benchmarks.reproduce [--app visual_qa] [--seeds 3] [--split test] [-- --model.hops 1]

Without --app all apps, one after the other. Everything is chosen on validation; the split named
here is only looked at at the end. With options for `train` behind "--" only the result file is
written, under --name.
"""

import functools
import re
import sys
from pathlib import Path

import tyro

from benchmarks import commands
from benchmarks.commands import spread, summary
from common.runs import files
from common.runs.errors import UserError

BEGIN, END = "<!-- benchmarks.reproduce writes this -->\n", "<!-- to here -->\n"


def main(
    train_options: list[str],
    *,
    app: str | None = None,
    seeds: int = 3,
    split: str = "test",
    name: str | None = None,
    runs_dir: Path = commands.ROOT / "runs" / "reproduce",
) -> None:
    """Trains and evaluates with each seed; writes results/<name>.json and the table.

    Args:
        train_options: What stands behind "--".
        app: Folder under apps/; all of them by default.
        seeds: How many: 1, 2, ...
        split: Part of the data for the table.
        name: Of the result file; the app's by default.
        runs_dir: Folder for the runs; older ones of this name are replaced.
    """
    for one in commands.APPS if app is None else [app]:
        known_as = name or one
        report = measure(one, runs_dir / known_as, seeds, split, train_options)
        files.write_json(commands.RESULTS / f"{known_as}.json", report)
        print(as_table(report))
        if known_as == one:
            readme = commands.ROOT / "apps" / one / "README.md"
            files.write_text(readme, with_table(readme.read_text(encoding="utf-8"), report))


def measure(app: str, folder: Path, seeds: int, split: str, train_options: list[str]) -> dict:
    """The figures of all seeds, with what is needed to read and to repeat them."""
    results, minutes, memory, run = [], [], [], folder
    for seed in range(1, seeds + 1):
        run = folder / str(seed)
        commands.remove_runs(run)
        done = commands.run(app, "train", "--run-dir", run, "--train.seed", seed, *train_options)
        results.append(commands.evaluate(app, run, split))
        minutes.append(done.seconds / 60)
        memory.append(done.peak_gib)
    return {
        "command": " ".join(["python -m benchmarks.reproduce", *sys.argv[1:]]),
        **commands.origin(run),
        "data": results[0]["data"],
        "split": split,
        "num_examples": results[0]["num_examples"],
        "seeds": list(range(1, seeds + 1)),
        "model": summary([one["metrics"] for one in results]),
        "baselines": {
            baseline: summary([one["baselines"][baseline] for one in results])
            for baseline in results[0]["baselines"]
        },
        "details": [one["details"] for one in results],
        "train_minutes": spread(minutes),
        "train_peak_gib": spread(memory),
    }


def as_table(report: dict) -> str:
    """Mean and sample standard deviation of every metric: the model, then the baselines."""
    names = list(report["model"])
    lines = [f"| | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for label, found in (("**model**", report["model"]), *report["baselines"].items()):
        cells = [
            f"{found[name]['mean']:.4f} ± {found[name]['sd']:.4f}" if name in found else ""
            for name in names
        ]
        lines.append(f"| {label.replace('_', ' ')} | {' | '.join(cells)} |")
    took = [
        f"{report[key]['mean']:.1f} ± {report[key]['sd']:.1f} {unit}"
        for key, unit in (("train_minutes", "minutes"), ("train_peak_gib", "GiB"))
        if key in report
    ]
    lines += [
        "",
        f"{report['data']}, {report['split']}, {report['num_examples']:,} examples, seeds "
        f"{', '.join(map(str, report['seeds']))}: mean ± standard deviation. Training takes "
        f"{', '.join(took)}.",
        f"`{report['command']}`, {report['date']}, commit {report['git_commit'][:7]}, "
        f"{report['machine']}.",
    ]
    return "\n".join(lines) + "\n"


def with_table(readme: str, report: dict) -> str:
    """The README with a new table in the place of the old one.

    Raises:
        UserError: the README has no place for it.
    """
    if BEGIN not in readme or END not in readme:
        raise UserError(f"expected a line {BEGIN.strip()} in the README, found none: write it")
    place = re.escape(BEGIN) + ".*?" + re.escape(END)
    return re.sub(place, lambda _: BEGIN + as_table(report) + END, readme, flags=re.DOTALL)


if __name__ == "__main__":
    # What stands after "--" is for `train`.
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    tyro.cli(functools.partial(main, sys.argv[cut + 1 :]), args=sys.argv[1:cut])
