"""Trains one preset with several seeds and writes mean and spread beside the blind baselines.

    python -m benchmarks.seeds --app visual_qa --seeds 1 2 3 [--split test] [-- --model.hops 1 ...]

Everything is chosen on validation; the split named here is only looked at at the end.
"""

import dataclasses
import datetime
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands
from common import files


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    app: str = commands.APPS[0]
    """Folder under apps/."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """One run each."""
    split: str = "test"
    """Part of the data for the table."""
    name: str | None = None
    """Of the result file; the app's by default."""
    runs_dir: Path = commands.ROOT / "runs" / "seeds"
    """Folder for the runs; older ones of this name are replaced."""


def measure(options: Options, train_options: list[str]) -> None:
    """Trains and evaluates with each seed; writes and prints the figures."""
    name = options.name or options.app
    results, minutes, memory, environment = [], [], [], {}
    for seed in options.seeds:
        folder = options.runs_dir / name / str(seed)
        shutil.rmtree(folder, ignore_errors=True)
        done = commands.run(
            options.app, "train", "--run-dir", folder, "--train.seed", seed, *train_options
        )
        results.append(commands.evaluate(options.app, folder, options.split))
        minutes.append(done.seconds / 60)
        memory.append(done.peak_gib)
        environment = files.read_json(folder / "environment.json")
    report = {
        "command": " ".join(["python -m benchmarks.seeds", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "git_commit": environment["git_commit"],
        "machine": f"{environment['cpu_count']} CPU cores, {len(environment['gpus'])} GPUs",
        "data": results[0]["data"],
        "split": options.split,
        "num_examples": results[0]["num_examples"],
        "seeds": list(options.seeds),
        "model": summary([one["metrics"] for one in results]),
        "baselines": {
            baseline: summary([one["baselines"][baseline] for one in results])
            for baseline in results[0]["baselines"]
        },
        "details": [one["details"] for one in results],
        "train_minutes": spread(minutes),
        "train_peak_gib": spread(memory),
    }
    files.write_json(commands.RESULTS / f"{name}.json", report)
    print(
        json.dumps(
            {key: report[key] for key in ("model", "baselines", "train_minutes", "train_peak_gib")},
            indent=2,
        )
    )


def summary(metrics: list[dict[str, float]]) -> dict[str, dict]:
    return {name: spread([one[name] for one in metrics]) for name in metrics[0]}


def spread(values: list[float]) -> dict:
    """Mean and sample standard deviation, with the single values."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 5),
        "sd": round(deviation, 5),
        "values": [round(value, 5) for value in values],
    }


if __name__ == "__main__":
    # What stands after "--" is for `train`.
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    measure(tyro.cli(Options, args=sys.argv[1:cut]), sys.argv[cut + 1 :])
