"""Models on disk: finds versions, loads a new one aside, and drops the old when it is idle.

A folder is a SavedModel, version 1, or holds versions in folders 1/, 2/, ...; the newest is served,
as TensorFlow Serving does. A version is loaded when its name is a number, saved_model.pb and all
parts of its variables are there, and no file of it has changed between two looks; copies that are
written under another name and renamed are never seen half-written. What another lacks is logged
and said as its state, and it is loaded when its files are there.
"""

import asyncio
import logging
import os
import re
import tempfile
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving import metrics, probes
from serving.batching import Batcher, plain, request_error
from serving.errors import RequestError
from serving.signatures import (
    Signature,
    read_card,
    read_definitions,
    read_graph,
    read_signatures,
)
from serving.wire import Arrays

logger = logging.getLogger(__name__)
# Kinds of outputs that are no array of NumPy's: by the beginning of their names.
_FORMLESS = ("qint", "quint", "resource", "variant", "RaggedTensor", "SparseTensor")


@dataclass(frozen=True)
class Candidate:
    """A whole version on disk; `stamp` changes with every file of it."""

    number: int
    folder: Path
    stamp: tuple


# The newest version that may be loaded, and of newer ones what each lacks and its stamp.
Look = tuple[Candidate | None, dict[int, tuple[str, tuple]]]


def survey(path: Path, failed: Collection[tuple] = ()) -> Look:
    """Looks at the versions in `path`; those with a stamp in `failed` could not be loaded."""
    folders, others = {1: path}, {}
    with suppress(OSError):  # which is said below
        if not (path / "saved_model.pb").is_file():
            names = [name for name in path.glob("*") if re.fullmatch("[0-9]{1,18}", name.name)]
            folders = {int(name.name): name for name in names if name.is_dir()} or folders
    for number, folder in sorted(folders.items(), reverse=True):
        stamp = ()
        try:
            stamp = _stamp(folder)
            reason = lacks(folder)
        except (OSError, ValueError) as error:  # it may be being written or removed
            reason = f"cannot be read: {error}".replace(str(folder), ".")
        if not reason and stamp not in failed:
            return Candidate(number, folder, stamp), others
        others[number] = (reason, stamp)
    return None, others


def lacks(folder: Path) -> str:
    """Which file of a SavedModel is missing or cannot be read; "" when it looks whole."""
    if not (folder / "saved_model.pb").is_file():
        return "has no saved_model.pb"
    names = ["variables.index"]
    if (folder / "variables" / names[0]).is_file():
        parts = "\n".join(path.name for path in (folder / "variables").iterdir())
        counts = re.findall(r"^variables\.data-\d{5}-of-(\d{5})$", parts, re.MULTILINE)
        count = min(counts, default="00001")
        names = [f"variables.data-{number:05}-of-{count}" for number in range(int(count))]
    elif not _has_variables(folder, (folder / "saved_model.pb").stat().st_mtime_ns):
        names = []
    for name in names:
        if not (folder / "variables" / name).is_file():
            return f"has no variables/{name}"
    closed = [path for path in folder.rglob("*") if not os.access(path, os.R_OK)]
    return f"cannot be read: {closed[0].relative_to(folder)}" if closed else ""


@lru_cache
def _has_variables(folder: Path, changed: int) -> bool:
    """Whether TensorFlow looks for files of variables: not in its version 1 where there are none.

    `changed` is when saved_model.pb was, which is read once: it may hold all numbers of a model.
    """
    graph = read_graph(folder)
    return bool(graph.object_graph_def.nodes) or graph.HasField("saver_def")


def _stamp(folder: Path) -> tuple:
    files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return tuple(
        (str(path.relative_to(folder)), stat.st_ino, stat.st_size, stat.st_mtime_ns)
        for path, stat in files
    )


@contextmanager
def _without_pattern(folder: Path) -> Iterator[Path]:
    """A path to a folder without the characters that TensorFlow takes for a pattern of names."""
    if not set("*?[\\") & set(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as parent:
        link = Path(parent) / "link"
        link.symlink_to(folder.absolute())
        yield link


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
        tags = list(read_graph(candidate.folder).meta_info_def.tags)
        with _without_pattern(candidate.folder) as folder:
            self._loaded = tf.saved_model.load(str(folder), tags)  # its signatures use it
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
            return {name: _array(name, value) for name, value in function(**tensors).items()}

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


def _array(name: str, value: tf.Tensor) -> np.ndarray:
    kind = value.dtype.name if isinstance(value, tf.Tensor) else type(value).__name__
    if kind.startswith(_FORMLESS):
        raise RequestError(f"{name}: JSON has no form for its type ({kind})")
    # NumPy would take a string alone for one of fixed length.
    return np.asarray(value.numpy(), object if value.dtype == tf.string else None)


class Model:
    """A folder, the version that answers, and what became of the others."""

    def __init__(self, name: str, path: Path):
        self.name, self.path = name, path
        self.version: Version | None = None
        self.states: dict[int, tuple[str, str]] = {}
        self._seen: Look | None = None
        self._failed: set[tuple] = set()

    @property
    def problem(self) -> str:
        """Why no version answers."""
        for number, (_, error) in sorted(self.states.items(), reverse=True):
            if error:
                return f"Model {self.name} waits: version {number} {error}"
        return f"Model {self.name} is being loaded"

    def next(self) -> Candidate | None:
        """A version to load: not the one that answers, and unchanged since the last look."""
        seen, self._seen = self._seen, survey(self.path, self._failed)
        candidate, others = self._seen
        if self._seen != seen:
            return None
        newest = candidate.number if candidate else 0
        for number, (_, error) in list(self.states.items()):
            if error and number > newest and number not in others:  # it was removed
                del self.states[number]
        answers = self.version.number if self.version else None
        for number, (reason, _) in others.items():
            if reason and number != answers and self.states.get(number) != ("END", reason):
                self.states[number] = ("END", reason)
                logger.error("%s: version %d in %s %s", self.name, number, self.path, reason)
        if candidate is None or answers in others:  # what answers goes on when its files are gone
            return None
        return None if self.version and candidate.stamp == self.version.stamp else candidate

    async def load(self, candidate: Candidate, executor: Executor, **queue: int) -> str | None:
        """Loads `candidate` beside the version that answers, and lets it answer from then on.

        Returns:
            What is wrong with `candidate`, when it cannot be loaded; None as long as another may
            be or a file is missing, which may still come.
        """
        self.states[candidate.number] = ("LOADING", "")
        begun = time.monotonic()
        try:
            version = await asyncio.to_thread(Version, self.name, candidate, executor, **queue)
            await asyncio.to_thread(version.warm)
        except Exception as error:
            return self._give_up(candidate, error)
        old, self.version = self.version, version
        self.states[candidate.number] = ("AVAILABLE", "")
        metrics.LOADS.labels(self.name, "ok").inc()
        metrics.VERSION.labels(self.name).set(candidate.number)
        seconds = time.monotonic() - begun
        logger.info("%s: version %d answers after %.1f s", self.name, candidate.number, seconds)
        if old is not None:
            await self._drop(old)
        return None

    def _give_up(self, candidate: Candidate, error: Exception) -> str | None:
        self._failed.add(candidate.stamp)
        reason = (plain(error) or type(error).__name__).replace(f"{candidate.folder}/", "")[:300]
        if isinstance(error, (IndexError, tf.errors.OutOfRangeError)) or "sstable" in reason:
            reason = f"its variables are cut short or damaged ({reason})"
        answers = self.version is not None and self.version.number == candidate.number
        self.states[candidate.number] = (
            ("AVAILABLE", "") if answers else ("END", f"cannot be loaded: {reason}")
        )
        metrics.LOADS.labels(self.name, "failed").inc()
        problem = f"version {candidate.number} in {candidate.folder} cannot be loaded: {reason}"
        logger.error("%s: %s", self.name, problem)
        missing = isinstance(error, (OSError, tf.errors.NotFoundError))
        return None if missing or survey(self.path, self._failed)[0] else problem

    async def _drop(self, old: Version) -> None:
        if self.version and old.number != self.version.number:
            self.states[old.number] = ("UNLOADING", "")
        while old.users:
            await asyncio.sleep(0.05)
        if self.states[old.number][0] == "UNLOADING":
            self.states[old.number] = ("END", "")
