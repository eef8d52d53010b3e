"""Models on disk: finds versions, loads a new one aside, and drops the old when it is idle.

A folder is a SavedModel, version 1, or holds versions in folders 1/, 2/, ...; the newest is served,
as TensorFlow Serving does. A version is loaded when its name is a number, saved_model.pb and all
parts of its variables are there, and no file of it has changed between two looks; copies that are
written under another name and renamed are never seen half-written.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving import metrics, probes
from serving.batching import Batcher, request_error
from serving.signatures import Signature, read_card, read_definitions, read_signatures
from serving.wire import Arrays

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A whole version on disk; `stamp` changes with every file of it."""

    number: int
    folder: Path
    stamp: tuple


def look(path: Path) -> Candidate | None:
    """The newest version in `path` that looks whole."""
    if (path / "saved_model.pb").is_file():
        folders = {1: path}
    else:
        names = [folder for folder in path.glob("*") if folder.name.isascii()]
        folders = {int(folder.name): folder for folder in names if folder.name.isdigit()}
    for number in sorted(folders, reverse=True):
        try:
            if is_whole(folders[number]):
                return Candidate(number, folders[number], _stamp(folders[number]))
        except OSError:  # it is being written or removed
            continue
    return None


def is_whole(folder: Path) -> bool:
    """Whether saved_model.pb and every part of the variables are there."""
    if not (folder / "saved_model.pb").is_file():
        return False
    variables = folder / "variables"
    if not (variables / "variables.index").is_file():
        return False
    parts = sorted(path.name for path in variables.glob("variables.data-*"))
    return bool(parts) and len(parts) == int(parts[0].rpartition("-of-")[2])


def _stamp(folder: Path) -> tuple:
    files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return tuple(
        (str(path.relative_to(folder)), stat.st_ino, stat.st_size, stat.st_mtime_ns)
        for path, stat in files
    )


class Version:
    """A loaded SavedModel with a queue for each signature.

    Raises:
        Exception: whatever TensorFlow raises for a folder that cannot be loaded.
    """

    def __init__(self, name: str, candidate: Candidate, executor: Executor, **queue: int):
        self.number, self.stamp = candidate.number, candidate.stamp
        self.definitions = read_definitions(candidate.folder)
        self.signatures: dict[str, Signature] = read_signatures(
            self.definitions, read_card(candidate.folder)
        )
        if not self.signatures:
            raise ValueError("no signature for prediction")
        self._loaded = tf.saved_model.load(str(candidate.folder))  # signatures alone lose variables
        self.users = 0
        self.batchers = {
            key: Batcher(
                self._caller(key),
                signature,
                executor,
                observe=metrics.BATCH_ROWS.labels(name).observe,
                **queue,
            )
            for key, signature in self.signatures.items()
        }

    def _caller(self, key: str):
        function = self._loaded.signatures[key]

        def call(inputs: Arrays) -> Arrays:
            tensors = {name: tf.constant(values) for name, values in inputs.items()}
            return {name: np.asarray(value.numpy()) for name, value in function(**tensors).items()}

        return call

    def warm(self) -> None:
        """Runs every signature once, so that no request pays for TensorFlow's preparations."""
        for key, signature in self.signatures.items():
            try:
                self.batchers[key].call(probes.inputs(signature))
            except Exception as error:
                logger.info("%s is not warmed up: %s", key, request_error(error))

    @contextmanager
    def used(self) -> Iterator["Version"]:
        """Keeps the version until a request is answered."""
        self.users += 1
        try:
            yield self
        finally:
            self.users -= 1


class Model:
    """A folder, the version that answers, and what became of the others."""

    def __init__(self, name: str, path: Path):
        self.name, self.path = name, path
        self.version: Version | None = None
        self.states: dict[int, tuple[str, str]] = {}
        self._seen: Candidate | None = None
        self._failed: tuple | None = None

    def next(self) -> Candidate | None:
        """A version to load: not the one that answers, and unchanged since the last look."""
        candidate, seen = look(self.path), self._seen
        self._seen = candidate
        if candidate is None or candidate != seen or candidate.stamp == self._failed:
            return None
        return None if self.version and candidate.stamp == self.version.stamp else candidate

    async def load(self, candidate: Candidate, executor: Executor, **queue: int) -> str | None:
        """Loads `candidate` beside the version that answers, and lets it answer from then on.

        Returns:
            What is wrong with `candidate`, when it cannot be loaded and the older one goes on.
        """
        self.states[candidate.number] = ("LOADING", "")
        begun = time.monotonic()
        try:
            version = await asyncio.to_thread(Version, self.name, candidate, executor, **queue)
            await asyncio.to_thread(version.warm)
        except Exception as error:
            self._failed = candidate.stamp
            reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            answers = self.version is not None and self.version.number == candidate.number
            self.states[candidate.number] = (
                ("AVAILABLE", "") if answers else ("END", "the SavedModel cannot be loaded")
            )
            metrics.LOADS.labels(self.name, "failed").inc()
            logger.error("%s: version %d cannot be loaded: %s", self.name, candidate.number, reason)
            return f"version {candidate.number} in {candidate.folder} cannot be loaded: {reason}"
        old, self.version = self.version, version
        self.states[candidate.number] = ("AVAILABLE", "")
        metrics.LOADS.labels(self.name, "ok").inc()
        metrics.VERSION.labels(self.name).set(candidate.number)
        seconds = time.monotonic() - begun
        logger.info("%s: version %d answers after %.1f s", self.name, candidate.number, seconds)
        if old is not None:
            await self._drop(old)
        return None

    async def _drop(self, old: Version) -> None:
        if self.version and old.number != self.version.number:
            self.states[old.number] = ("UNLOADING", "")
        while old.users:
            await asyncio.sleep(0.05)
        if self.states[old.number][0] == "UNLOADING":
            self.states[old.number] = ("END", "")
