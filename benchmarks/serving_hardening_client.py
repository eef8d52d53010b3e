"""Clients that compare every answer with that of a server at rest.

python -m benchmarks.serving_hardening_client PORT APP SECONDS

Prints how many requests were answered rightly, wrongly, with "try again", were lost (an error of
HTTP without a kill), or were in flight when a connection broke.
"""

import asyncio
import collections
import json
import sys
import time

from benchmarks.serving_client import ask, encoded
from benchmarks.serving_hardening import CLIENTS, same
from benchmarks.serving_processes import documents


async def client(port, requests, expected, first, end, counts) -> None:
    """One of them; connects again when the connection breaks."""
    turn = first
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        except OSError:  # no server: nothing was accepted
            await asyncio.sleep(0.1)
            continue
        try:
            while time.monotonic() < end:
                turn = (turn + 1) % len(requests)
                status, body = await ask(reader, writer, requests[turn])
                if status == 200:
                    right = same(json.loads(body), expected[turn])
                    counts["right" if right else "wrong"] += 1
                elif status == 503:  # after a start, until the model is loaded
                    counts["try_again"] += 1
                    await asyncio.sleep(0.1)
                else:
                    counts["lost"] += 1
        except (OSError, asyncio.IncompleteReadError):
            counts["in_flight_at_a_kill"] += 1
        finally:
            writer.close()


async def run(port: int, app: str, seconds: float) -> dict:
    """Counts of all clients."""
    path = f"/v1/models/{app}:predict"
    requests = [encoded(path, json.dumps(document)) for document in documents(app, 16)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    expected = [json.loads((await ask(reader, writer, one))[1]) for one in requests]
    writer.close()
    counts = collections.Counter(right=0, wrong=0, lost=0, in_flight_at_a_kill=0, try_again=0)
    end = time.monotonic() + seconds
    await asyncio.gather(
        *(client(port, requests, expected, 3 * one, end, counts) for one in range(CLIENTS))
    )
    return counts


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))))
