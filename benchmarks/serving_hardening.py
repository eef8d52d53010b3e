"""Attacks a server of `serving` with hostile requests, then loads it while versions come and go.

python -m benchmarks.serving_hardening --folder runs/demo/visual_qa/saved_model --app visual_qa
    [--number 10000] [--minutes 10] [--kills 1]

First `number` requests, made by hand and by schemathesis from the OpenAPI description: none may be
answered by another 5xx than 503 and 504, good ones in between must be answered as before, and the
memory after the last must be that after the first tenth. Then `minutes` of load by 8 clients from a
second process, in which a new version appears every tenth of the time and the server is killed with
SIGKILL and started again: every answer must be that which was given alone, and none may be missing
but those in flight at a kill.
"""

import collections
import datetime
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from benchmarks import commands
from benchmarks.hostile_requests import requests
from benchmarks.serving_processes import Server, documents, running
from common.runs import directory, files

if TYPE_CHECKING:
    import httpx

ALLOWED = {503, 504}
CLIENTS = 8


def main(
    *, app: str, folder: Path, number: int = 10_000, minutes: float = 10.0, kills: int = 1
) -> None:
    """Prints what was found and writes results/serving_hardening.json; exit code 1 on a failure.

    Args:
        app: Whose SavedModel it is: says which requests are good ones.
        folder: The SavedModel.
        number: Hostile requests.
        minutes: Of load.
        kills: Of the server during the load.
    """
    attacked = attack(app, folder, number)
    print("attack", json.dumps(attacked), flush=True)
    loaded = load(app, folder, 60 * minutes, kills)
    print("load", json.dumps(loaded), flush=True)
    machine = directory.environment(seed=1)
    report = {
        "command": f"python -m benchmarks.serving_hardening --app {app} --number {number} "
        f"--minutes {minutes:g} --kills {kills}",
        "date": datetime.date.today().isoformat(),
        "git_commit": machine["git_commit"],
        "attack": attacked,
        "load": loaded,
    }
    files.write_json(commands.RESULTS / "serving_hardening.json", report)
    # At a kill each client loses the request on its way, and one more that meets the dying socket.
    broken = loaded["in_flight_at_a_kill"] > 2 * CLIENTS * kills
    if attacked["failures"] or loaded["wrong"] or loaded["lost"] or broken:
        sys.exit("the server has failed: see above")


def attack(app: str, folder: Path, number: int) -> dict:
    """Sends hostile requests, a fifth of them by schemathesis."""
    import httpx

    good = documents(app, 4)
    server = Server(app, folder)
    statuses, failures = collections.Counter(), []
    with running(server), httpx.Client(base_url=server.url, timeout=60) as client:
        path = f"/v1/models/{app}:predict"
        expected = [client.post(path, json=document).json() for document in good]
        statuses += by_schema(client, number // 5)
        memory, by_hand = server.memory_mib, number - statuses.total()
        for index, one in enumerate(islice(requests({app: good}, seed=1), by_hand)):
            answer = client.request(one.method, one.path, headers=one.headers, content=one.body)
            statuses[answer.status_code] += 1
            if answer.status_code >= 500 and answer.status_code not in ALLOWED:
                failures.append(f"{one.method} {one.path[:80]} {one.body[:200]!r}: {answer.text}")
            if index % 100 == 0:
                again = [client.post(path, json=document).json() for document in good]
                if not all(map(same, again, expected)):
                    failures.append(f"another answer after {index} requests")
            if index == by_hand // 10:
                memory = server.memory_mib
        bad = {code: count for code, count in statuses.items() if code >= 500}
        if set(bad) - ALLOWED:
            failures.append(f"answered by {bad}")
        if server.memory_mib > 1.2 * memory:
            failures.append("memory grows")
        return {
            "requests": statuses.total(),
            "statuses": dict(sorted(statuses.items())),
            "failures": failures[:20],
            "memory_mib_after_a_tenth": round(memory),
            "memory_mib_at_the_end": round(server.memory_mib),
        }


def by_schema(client: "httpx.Client", number: int) -> collections.Counter:
    """Statuses of requests that schemathesis draws from the OpenAPI description."""
    import hypothesis
    import schemathesis

    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    operations = [result.ok() for result in schema.get_all_operations()]  # pyright: ignore
    statuses = collections.Counter()
    for operation in operations:

        @hypothesis.settings(
            max_examples=max(1, number // len(operations)),
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),  # pyright: ignore
        )
        @hypothesis.seed(1)
        @hypothesis.given(case=operation.as_strategy())
        def send(case):
            statuses[case.call(base_url=str(client.base_url)).status_code] += 1

        send()
    return statuses


def load(app: str, folder: Path, seconds: float, kills: int) -> dict:
    """Loads a server while versions are exchanged and it is killed."""
    with tempfile.TemporaryDirectory() as place:
        versions = Path(place) / "versions"
        shutil.copytree(folder, versions / "1")
        server = Server(app, versions, "--poll-s", 0.5)
        begun = time.monotonic()
        line = ["-m", "benchmarks.serving_hardening_client", server.port, app, seconds]
        client = subprocess.Popen(
            [sys.executable, *map(str, line)], cwd=commands.ROOT, stdout=subprocess.PIPE, text=True
        )
        killed, number, swapped = 0, 1, 0
        memory = server.memory_mib
        try:
            while (passed := (time.monotonic() - begun) / seconds) < 1 and client.poll() is None:
                if passed > (number - 0.5) / 10 and number < 10:
                    number += 1
                    swapped += publish(folder, versions, number)
                if passed > (killed + 1) / (kills + 1) and killed < kills:
                    server.process.kill()
                    server.process.wait()
                    server = Server(app, versions, "--poll-s", 0.5, port=server.port)
                    killed += 1
                time.sleep(0.2)
            output, _ = client.communicate()
            last = json.loads(server.get(f"/v1/models/{app}")[1])["model_version_status"][0]
            return {
                **json.loads(output),
                "seconds": round(seconds),
                "versions_published": swapped,
                "version_at_the_end": int(last["version"]),
                "kills": killed,
                "memory_mib": [round(memory), round(server.memory_mib)],
            }
        finally:
            client.kill()
            server.stop()


def publish(folder: Path, versions: Path, number: int) -> int:
    """Copies a version; every second one in place, so that it is seen half-written."""
    if number % 2:
        shutil.copytree(folder, versions / f"{number}.part")
        (versions / f"{number}.part").rename(versions / str(number))
    else:
        target = versions / str(number)
        (target / "variables").mkdir(parents=True)
        shutil.copy(folder / "saved_model.pb", target)
        time.sleep(1)
        for part in ("variables", "assets", "assets.extra"):
            if (folder / part).exists():
                shutil.copytree(folder / part, target / part, dirs_exist_ok=True)
    return 1


def same(one: object, other: object) -> bool:
    """Whether two answers are equal, numbers up to what the company in a batch rounds."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-4)
    return one == other


if __name__ == "__main__":
    tyro.cli(main)
