"""Servers as processes, and requests of each app, for the benchmarks of `serving`."""

import base64
import contextlib
import inspect
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np

from benchmarks.commands import ROOT

KINDS = ["shape", "color"]


class Server:
    """`python -m serving` with one model, ready when made.

    Attributes:
        ready_s: from the start of the process.
    """

    def __init__(self, name: str, folder: Path, *options: object, port: int = 0):
        line = [sys.executable, "-m", "serving", "--model", f"{name}={folder}", "--port", port]
        begun = time.monotonic()
        self.log = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would stop the server
        self.process = subprocess.Popen(
            [*map(str, line), *map(str, options)], cwd=ROOT, stderr=self.log
        )
        self.port = self._listening()
        while self.get("/readyz")[0] != 200:
            time.sleep(0.05)
        self.ready_s = time.monotonic() - begun

    def _listening(self) -> int:
        while self.process.poll() is None:
            self.log.seek(0)
            found = re.search(r"http://127.0.0.1:(\d+)", self.log.read())
            if found:
                return int(found[1])
            time.sleep(0.05)
        sys.exit("the server has ended before it listened")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        try:
            with urllib.request.urlopen(self.url + path) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    @property
    def memory_mib(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def stop(self) -> int:
        """Ends it as a service manager would; its exit code."""
        self.process.terminate()
        return self.process.wait(60)


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Stops the servers whatever happens."""
    try:
        yield
    finally:
        for server in servers:
            server.stop()


def documents(case: str, number: int = 64) -> list[dict]:
    """Requests of an app: images of easy-VQA, sentences of NumPy, 1 to 3 s of noise.

    What sound holds does not change what it costs. It is sent as a WAV file, or in the case
    "phoneme_tagging:floats" as numbers in JSON.
    """
    from common.inputs import sound_files

    draw = np.random.default_rng(1)
    folder = resources.files("easy_vqa") / "data" / "test" / "images"
    sentences = [
        line.strip() for line in (inspect.getdoc(np) or "").splitlines() if len(line.split()) > 4
    ]
    found = []
    for index in range(number):
        image = {"image": [_b64((folder / f"{index}.png").read_bytes())]}
        sentence = sentences[index % len(sentences)]
        samples = draw.normal(0, 0.1, int(draw.integers(16_000, 48_000))).clip(-1, 1)
        given = {
            "image_captioning": image,
            "visual_qa": {**image, "question": [f"what {KINDS[index % 2]} is it?"]},
            "answer_selection": {
                "question": [f"how do I use {sentence.split()[0]}?"],
                "candidate": [sentence],
            },
            "phoneme_tagging": {"wav": [_b64(sound_files.encode(samples))]},
            "phoneme_tagging:floats": {
                "waveform": [samples.round(5).tolist()],
                "num_samples": [len(samples)],
            },
        }[case]
        signature = "wav" if "wav" in given else "serving_default"
        found.append({"signature_name": signature, "inputs": given})
    return found


def _b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}
