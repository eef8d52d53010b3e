"""Trains one preset with several seeds and writes mean and spread beside the blind baselines.

    python -m benchmarks.seeds --app visual_qa --seeds 1 2 3 [--split test] [-- --model.hops 1 ...]

Everything is chosen on validation; the split named here is only looked at at the end.
"""

import datetime
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from benchmarks import commands
from common import files

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str]) -> None:
    """Reads the options before `--`; those after it go to `train`."""
    import tyro

    cut = arguments.index("--") if "--" in arguments else len(arguments)
    tyro.cli(measure, args=arguments[:cut])(arguments[cut + 1 :])


def measure(
    *,
    app: str = commands.APPS[0],
    seeds: tuple[int, ...] = (1, 2, 3),
    split: str = "test",
    name: str | None = None,
    runs_dir: Path = commands.ROOT / "runs" / "seeds",
):
    """Trains and evaluates.

    Args:
        app: Folder under apps/.
        seeds: One run each.
        split: Part of the data for the table.
        name: Of the result file; the app's by default.
        runs_dir: Folder for the runs; older ones of this name are replaced.
    """

    def with_options(options: list[str]) -> None:
        results, minutes, memory, environment = [], [], [], {}
        for seed in seeds:
            folder = runs_dir / (name or app) / str(seed)
            shutil.rmtree(folder, ignore_errors=True)
            done = commands.run(app, "train", "--run-dir", folder, "--train.seed", seed, *options)
            results.append(commands.evaluate(app, folder, split))
            minutes.append(done.seconds / 60)
            memory.append(done.peak_gib)
            environment = files.read_json(folder / "environment.json")
        report = {
            "command": " ".join(["python -m benchmarks.seeds", *sys.argv[1:]]),
            "date": datetime.date.today().isoformat(),
            "git_commit": environment["git_commit"],
            "machine": f"{environment['cpu_count']} CPU cores, {len(environment['gpus'])} GPUs",
            "data": results[0]["data"],
            "split": split,
            "num_examples": results[0]["num_examples"],
            "seeds": list(seeds),
            "model": _summary([one["metrics"] for one in results]),
            "baselines": {
                baseline: _summary([one["baselines"][baseline] for one in results])
                for baseline in results[0]["baselines"]
            },
            "details": [one["details"] for one in results],
            "train_minutes": _spread(minutes),
            "train_peak_gib": _spread(memory),
        }
        files.write_json(RESULTS / f"{name or app}.json", report)
        print(
            json.dumps(
                {
                    key: report[key]
                    for key in ("model", "baselines", "train_minutes", "train_peak_gib")
                },
                indent=2,
            )
        )

    return with_options


def _summary(metrics: list[dict[str, float]]) -> dict[str, dict]:
    return {name: _spread([one[name] for one in metrics]) for name in metrics[0]}


def _spread(values: list[float]) -> dict:
    """Mean and sample standard deviation, with the single values."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 5),
        "sd": round(deviation, 5),
        "values": [round(value, 5) for value in values],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
