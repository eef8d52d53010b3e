"""A closed loop of clients over keep-alive connections, in a process of its own.

python -m benchmarks.serving_client PORT CLIENTS SECONDS < requests.json

Reads [[path, body], ...] and prints {"seconds": [...], "statuses": {...}}. Written on sockets:
libraries for HTTP would take a good part of the time that is to be measured.
"""

import asyncio
import collections
import json
import sys
import time


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple:
    """Status and body of the answer to one request."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(size)


async def loop(port: int, requests: list[bytes], first: int, end: float) -> list[tuple]:
    """(status, seconds) of the requests of one client, each sent when the last was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    found = []
    while time.perf_counter() < end:
        begun = time.perf_counter()
        status, _ = await ask(reader, writer, requests[(first + len(found)) % len(requests)])
        found.append((status, time.perf_counter() - begun))
    writer.close()
    return found


async def run(port: int, clients: int, seconds: float, requests: list[bytes]) -> dict:
    """What `clients` at the same time measure."""
    end = time.perf_counter() + seconds
    loops = [loop(port, requests, 7 * client, end) for client in range(clients)]
    found = [one for many in await asyncio.gather(*loops) for one in many]
    return {
        "seconds": [seconds for _, seconds in found],
        "statuses": collections.Counter(status for status, _ in found),
    }


def encoded(path: str, body: str) -> bytes:
    """A POST as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body.encode())}\r\n\r\n"
    )
    return (head + body).encode()


if __name__ == "__main__":
    port, clients, duration = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    asked = [encoded(*request) for request in json.load(sys.stdin)]
    print(json.dumps(asyncio.run(run(port, clients, duration, asked))))
