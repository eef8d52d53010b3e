"""Requests that no honest client sends, drawn from a seed; for the tests of `serving`.

Beside broken JSON, shapes, numbers, images, sounds and names there are damaged copies of good
requests, so that no part of the server is out of reach.
"""

import base64
import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

LEAVES = [
    None, True, -1, 0, 2**31, 2**63, 2**64, 10**30, -0.5, 1e308, "", "x", "\x00", "../../passwd",
    [], {}, [[]], [[[[[[[[[[1]]]]]]]]]], {"b64": "*"}, {"b64": 1}, {"b64": "/w=="},
    {"b64": "AA", "c": 1},
]  # fmt: skip
NAMES = [
    "..", "../..", "{name}", "é", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "a" * 5000, "%00",
    "%ff", "all%20",
    "all/../all", "all:all", "all\\..", "~root", "*", "all;rm", "%252e", "all/versions/1/../../x",
]  # fmt: skip
VERSIONS = [
    "0",
    "-1",
    "1e3",
    "9" * 5000,
    "9" * 19,
    "0x1",
    "1.0",
    "..",
    "%31",
    "\u0661",
    "",
    "latest",
]
PATHS = [
    "/",
    "//",
    "/v1",
    "/v1/",
    "/v1/models",
    "/docs/../../etc/passwd",
    "/metrics/x",
    "/v2/health",
]
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]


class Hostile(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def png(width: int, height: int, data: bytes | None = None) -> bytes:
    """A grey PNG; with `data` in place of its pixels."""
    rows = bytes(min((width + 1) * height, 100_000)) if data is None else data

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def wav(samples: int, *, rate: int = 16000, channels: int = 1, said: int | None = None) -> bytes:
    """Silence as 16-bit PCM; with `said` as its size in place of the true one."""
    size = 2 * samples if said is None else said
    frame = 2 * channels
    sound = struct.pack("<HHIIHH", 1, channels, rate, rate * frame % 2**32, frame % 2**16, 16)
    header = struct.pack("<4sI4s4sI", b"RIFF", (36 + size) % 2**32, b"WAVE", b"fmt ", 16) + sound
    return header + struct.pack("<4sI", b"data", size) + bytes(2 * samples)


def files(draw: random.Random) -> bytes:
    """Bytes that are no image or sound, or one that is larger than it looks."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("../x", bytes(100_000))
    frame = struct.pack(">BBHBHHB", 0xFF, 0xC0, 17, 8, 65535, 65535, 3) + bytes(9)
    bitmap = struct.pack("<2sIHHIIiiHHI", b"BM", 54, 0, 0, 54, 40, 2**31 - 1, -(2**31), 1, 24, 0)
    good = png(3, 2)
    return draw.choice(
        [
            archive.getvalue(),
            b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
            b"GIF89a" + struct.pack("<HH", 9, 9) + bytes(20),
            b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(20),
            png(60_000, 60_000),
            png(2**31 - 1, 1),
            png(4, 4, b""),
            b"\xff\xd8\xff\xe0\x00\x02" + frame,
            b"\xff\xd8" + b"\xff" * 1000,
            b"\xff\xd8\xff\xe0\x00\x00\xff\xd8",
            bitmap + bytes(20),
            good[: draw.randrange(len(good))],
            bytes(draw.randrange(256) if draw.random() < 0.02 else byte for byte in good),
            wav(500, said=2**32 - 1),
            wav(500, rate=0),
            wav(500, channels=65535),
            wav(500)[: draw.randrange(1044)],
            draw.randbytes(draw.randrange(200)),
            b"",
        ]
    )


def damaged_json(good: object, draw: random.Random) -> object:
    """A copy of a JSON value in which one place holds something else."""
    if draw.random() < 0.2 or not isinstance(good, dict | list) or not good:
        if draw.random() < 0.3:
            return {"b64": base64.b64encode(files(draw)).decode()}
        return draw.choice(LEAVES)
    if isinstance(good, list):
        place = draw.randrange(len(good))
        if draw.random() < 0.1:
            return good * draw.choice([2, 200])
        return [*good[:place], damaged_json(good[place], draw), *good[place + 1 :]]
    key = draw.choice(sorted(good))
    if draw.random() < 0.1:
        return {name: value for name, value in good.items() if name != key}
    if draw.random() < 0.1:
        return {**good, draw.choice(["x", "", "__proto__", "signature_name", key + "\x00"]): 1}
    return {**good, key: damaged_json(good[key], draw)}


def damaged_bytes(good: bytes, draw: random.Random) -> bytes:
    """A copy of a body that is cut, changed, or of another kind."""
    place = draw.randrange(len(good))
    kinds = [
        lambda: good[:place],
        lambda: good[:place] + draw.randbytes(1) + good[place + 1 :],
        lambda: good[:place] + b"\xff\xfe" + good[place:],
        lambda: good.replace(b"0", b"NaN", 1),
        lambda: good.replace(b"1", draw.choice([b"1e999", b"-Infinity", b"9" * 5000]), 1),
        lambda: b"[" * draw.choice([10, 2000, 200_000]),
        lambda: b'{"inputs":' * 5000 + b"1" + b"}" * 5000,
        lambda: draw.randbytes(draw.randrange(1, 300)),
        lambda: good.decode().encode("utf-16"),
        lambda: good + good,
    ]
    return draw.choice(kinds)()


def requests(good: dict[str, list[dict]], seed: int) -> Iterator[Hostile]:
    """Hostile requests without end.

    Args:
        good: by the name of a model, documents that it answers.
        seed: the same gives the same requests.
    """
    draw = random.Random(seed)
    while True:
        name = draw.choice(sorted(good))
        document = draw.choice(good[name])
        method, path, headers = "POST", f"/v1/models/{name}:predict", {}
        body = json.dumps(document).encode()
        kind = draw.random()
        if kind < 0.5:
            body = json.dumps(damaged_json(document, draw)).encode()
        elif kind < 0.8:
            body = damaged_bytes(body, draw)
        elif kind < 0.9:
            path = path.replace(name, draw.choice(NAMES))
        elif kind < 0.94:
            method = draw.choice(["GET", "POST"])
            end = ":predict" if method == "POST" else draw.choice(["", "/metadata"])
            path = f"/v1/models/{name}/versions/{draw.choice(VERSIONS)}{end}"
        elif kind < 0.97:
            method, path = draw.choice(METHODS), draw.choice([*PATHS, path])
        else:
            headers = draw.choice(
                [
                    {"content-encoding": draw.choice(["gzip", "br"])},
                    {"authorization": "Bearer \x7f"},
                    {"content-type": "multipart/form-data; boundary=" + "x" * 2000},
                    {"x-forwarded-for": "1" * 4000},
                ]
            )
            if "content-encoding" in headers:
                sizes = [9, 20_000_000]
                body = draw.choice([gzip.compress, zlib.compress])(bytes(draw.choice(sizes)))
        yield Hostile(method, path, headers, body)
