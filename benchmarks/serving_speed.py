"""Times the server of `serving`: with joined requests and without, one client, start and export.

python -m benchmarks.serving_speed [--cases phoneme_tagging ...] [--runs runs/demo]

For each case, two servers of its SavedModel take turns, one with the default options and one with
`--max-batch 1`; a second process holds 16 clients on loopback that each send a request when their
last is answered. Then one client: what a request takes beyond a call of the model in this process.
`make demo` writes the runs.
"""

import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands
from benchmarks.serving_processes import Server, documents, running
from common.runs import cli, directory, files

RESULT = commands.RESULTS / "serving_speed.json"


def main(
    *,
    cases: tuple[str, ...] = (*commands.APPS, "phoneme_tagging:floats"),
    runs_dir: Path = Path("runs/demo"),
    clients: int = 16,
    seconds: float = 3.0,
    rounds: int = 2,
    export: bool = False,
) -> None:
    """Prints a line for each case and writes results/serving_speed.json.

    Args:
        cases: Apps to measure; the figures of others stay as they are.
        runs_dir: Holds a run with its SavedModel in a folder of each app's name.
        clients: At the same time.
        seconds: Of one turn of one server.
        rounds: Turns of each.
        export: Time the export too.
    """
    rows = files.read_json(RESULT)["rows"] if RESULT.exists() else {}
    machine = directory.environment(seed=1)
    for case in cases:
        app = case.partition(":")[0]
        row = {
            "date": datetime.date.today().isoformat(),
            "git_commit": machine["git_commit"],
            **measure(case, runs_dir / app / "saved_model", clients, seconds, rounds),
        }
        if export:
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder) / "saved_model"
                done = commands.run(app, "export", "--run-dir", runs_dir / app, "--output", output)
            row["export_s"] = round(done.seconds, 1)
        rows[case] = row
        print(case, json.dumps(row), flush=True)
        report = {
            "command": "python -m benchmarks.serving_speed",
            "machine": f"{machine['cpu_count']} CPU cores, shared by server and clients",
            "clients": clients,
            "rows": rows,
        }
        files.write_json(RESULT, report)


def measure(case: str, folder: Path, clients: int, seconds: float, rounds: int) -> dict:
    """The figures of one case."""
    app = case.partition(":")[0]
    path = f"/v1/models/{app}:predict"
    asked = documents(case)
    requests = json.dumps([[path, json.dumps(document)] for document in asked])
    joining = Server(app, folder)
    single = Server(app, folder, "--max-batch", 1)
    found: dict[str, list] = {"joined": [], "single": []}
    with running(joining, single):
        for server in (joining, single):  # not timed: first batches of each size
            load(server, requests, clients, 1.0)
        for _ in range(rounds):
            found["joined"].append(load(joining, requests, clients, seconds))
            found["single"].append(load(single, requests, clients, seconds))
        one = load(joining, requests, 1, seconds)
    own = own_time(folder, asked)
    figures = {name: summary(parts, seconds) for name, parts in found.items()}
    return {
        "ready_s": round(joining.ready_s, 1),
        **figures,
        "times_throughput": round(figures["joined"]["per_s"] / figures["single"]["per_s"], 2),
        "one_client_ms": round(1e3 * float(np.median(one)), 2),
        "model_ms": round(1e3 * own, 2),
        "overhead_ms": round(1e3 * (float(np.median(one)) - own), 2),
    }


def load(server: Server, requests: str, clients: int, seconds: float) -> list[float]:
    """Seconds of every request; all must be answered with 200."""
    line = [sys.executable, "-m", "benchmarks.serving_client", server.port, clients, seconds]
    done = subprocess.run(
        list(map(str, line)), cwd=commands.ROOT, input=requests, capture_output=True, text=True
    )
    answer = json.loads(done.stdout)
    if set(answer["statuses"]) != {"200"}:
        sys.exit(f"expected answers of status 200, got {answer['statuses']}")
    return answer["seconds"]


def summary(turns: list[list[float]], seconds: float) -> dict:
    """Requests a second, and what they took."""
    every = [one for turn in turns for one in turn]
    p50, p99 = np.percentile(every, [50, 99])
    return {
        "per_s": round(len(every) / seconds / len(turns), 1),
        "p50_ms": round(1e3 * float(p50), 1),
        "p99_ms": round(1e3 * float(p99), 1),
    }


def own_time(folder: Path, asked: list[dict], calls: int = 100) -> float:
    """Median seconds of a call of the model on the same inputs, in this process."""
    cli.start_tensorflow_quietly()
    import tensorflow as tf

    from serving import signatures, wire

    loaded = tf.saved_model.load(str(folder))
    known = signatures.read_signatures(signatures.read_definitions(folder), {})
    parsed = [wire.parse(json.dumps(document).encode(), known) for document in asked]
    taken = []
    for index in range(calls + 10):
        signature, inputs, _ = parsed[index % len(parsed)]
        given = {name: tf.constant(value) for name, value in inputs.items()}
        begun = time.perf_counter()
        outputs = loaded.signatures[signature](**given)
        for value in outputs.values():
            value.numpy()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken[10:]))


if __name__ == "__main__":
    tyro.cli(main)
