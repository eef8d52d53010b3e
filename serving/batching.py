"""Joins requests that wait into one run of the model, and takes their answers apart again.

A request that finds the model idle runs at once, alone. While the model runs, others gather, and
all that fit run together next: nothing ever waits for company while there is time to work.
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from serving.errors import RequestError
from serving.signatures import Signature
from serving.wire import Arrays

logger = logging.getLogger(__name__)
# TensorFlow's errors and what TensorFlow Serving answers; all others are the request's fault.
_STATUS = {tf.errors.ResourceExhaustedError: 429, tf.errors.UnavailableError: 503}


@dataclass(eq=False)
class Item:
    """A request that waits: its inputs and, once it ran, its outputs or a RequestError.

    Attributes:
        rows: of its inputs; 1 when it runs alone.
        part: of the most that a request may ask for, by its longest row.
        shapes: of its rows, which those of a batch have in common.
    """

    inputs: Arrays
    rows: int
    part: float
    shapes: tuple
    until: float
    answer: asyncio.Future = field(default_factory=asyncio.Future)


class Batcher:
    """The queue of one signature of one version of a model.

    Args:
        call: inputs -> outputs, run in `executor`.
        max_batch: rows of a batch; 1 turns batching off.
        max_queue: rows that may wait.
        workers: runs at the same time, where requests are not joined; where they are, one, since
            a second would only take the company of the first.
        observe: called with the rows of each batch.
    """

    def __init__(
        self,
        call: Callable[[Arrays], Arrays],
        signature: Signature,
        executor: Executor,
        *,
        max_batch: int,
        max_queue: int,
        workers: int,
        observe: Callable[[int], None] = lambda rows: None,
    ):
        self.call, self.signature, self.executor = call, signature, executor
        self.joins = signature.batchable and max_batch > 1
        self.max_batch = max_batch if self.joins else 1
        self.max_queue, self.observe = max_queue, observe
        self.workers = 1 if self.joins else workers
        self.queue: deque[Item] = deque()
        self.waiting = 0
        self.runs: set[asyncio.Task] = set()

    async def submit(self, inputs: Arrays, rows: int, part: float, timeout_s: float) -> Arrays:
        """The outputs for `inputs`, as if they were alone.

        Raises:
            RequestError: 400 for what the model refuses, 503 when the queue is full, 504 when
                there was no answer in time.
        """
        if self.queue and self.waiting + rows > self.max_queue:
            raise RequestError("The queue of this model is full", 503, retry_after_s=1)
        item = Item(inputs, rows, part, self._shapes(inputs), time.monotonic() + timeout_s)
        self.queue.append(item)
        self.waiting += rows
        self._start()
        try:
            return await asyncio.wait_for(item.answer, timeout_s)
        except TimeoutError:
            raise RequestError(f"Timed out after {timeout_s:g} s", 504) from None

    def _start(self) -> None:
        while self.queue and len(self.runs) < self.workers:
            batch = self._take()
            if batch:
                run = asyncio.get_running_loop().create_task(self._run(batch))
                self.runs.add(run)

    def _take(self) -> list[Item]:
        """The first that waits, and those behind it that fit; no larger than one request may be."""
        batch, rows, part, left = [], 0, 0.0, deque()
        while self.queue:
            item = self.queue.popleft()
            if item.answer.done() or item.until < time.monotonic():
                self.waiting -= item.rows
                continue
            total, longest = rows + item.rows, max(part, item.part)
            fits = total <= self.max_batch and total * longest <= 1 and self.joins
            if not batch or (fits and item.shapes == batch[0].shapes):
                batch.append(item)
                rows, part = total, longest
                self.waiting -= item.rows
            else:
                left.append(item)
            if rows >= self.max_batch:
                break
        self.queue.extendleft(reversed(left))
        return batch

    async def _run(self, batch: list[Item]) -> None:
        self.observe(sum(item.rows for item in batch))
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(self.executor, self._answers, batch)
            for item, answer in zip(batch, answers, strict=True):
                if item.answer.done():  # its time is over
                    continue
                if isinstance(answer, RequestError):
                    item.answer.set_exception(answer)
                else:
                    item.answer.set_result(answer)
        finally:
            self.runs.discard(asyncio.current_task())
            self._start()

    def _answers(self, batch: Sequence[Item]) -> list[Arrays | RequestError]:
        """Outputs or an error for each; where a batch fails, each is tried alone."""
        try:
            outputs = self.call(self._joined(batch))
            return list(self._parted(outputs, batch))
        except Exception as error:
            if len(batch) == 1:
                return [request_error(error)]
        return [
            self._answers([item])[0] if not item.answer.done() else RequestError("Timed out", 504)
            for item in batch
        ]

    def _joined(self, batch: Sequence[Item]) -> Arrays:
        if len(batch) == 1:
            return batch[0].inputs
        joined = {}
        for name in batch[0].inputs:
            parts = [item.inputs[name] for item in batch]
            if name in self.signature.lengths:
                axis = self.signature.lengths[name][1]
                longest = max(part.shape[axis] for part in parts)
                parts = [_lengthened(part, axis, longest) for part in parts]
            joined[name] = np.concatenate(parts)
        return joined

    def _parted(self, outputs: Arrays, batch: Sequence[Item]) -> Iterator[Arrays]:
        if not self.signature.batchable:
            yield outputs
            return
        fields, start = self.signature.outputs, 0
        total = sum(item.rows for item in batch)
        for name, values in outputs.items():
            if fields[name].batched and len(values) != total:
                raise RequestError(f"{name}: the model gave {len(values)} rows for {total}", 500)
        for item in batch:
            own = slice(start, start + item.rows)
            start += item.rows
            yield shortened(
                {
                    name: values[own] if fields[name].batched else values
                    for name, values in outputs.items()
                },
                self.signature,
            )

    def _shapes(self, inputs: Arrays) -> tuple:
        """What requests must have in common to share a batch."""
        lengths = self.signature.lengths
        return tuple(
            tuple(
                size
                for axis, size in enumerate(values.shape)
                if axis and not (name in lengths and lengths[name][1] == axis)
            )
            for name, values in inputs.items()
        )


def shortened(outputs: Arrays, signature: Signature) -> Arrays:
    """Without what lies behind the longest row along dimensions of free size.

    There, in all outputs with a batch, is nothing but zeros and empty strings. How much of it
    depends on the company a request had: without it, answers are the same alone and in a batch.
    """
    needed: dict[str, int] = {}
    for name, values in outputs.items():
        field = signature.outputs[name]
        for dim, axis in field.free.items() if field.batched else ():
            real = values != (b"" if values.dtype == object else 0)
            some = np.flatnonzero(real.any(tuple(n for n in range(real.ndim) if n != axis)))
            needed[dim] = max(needed.get(dim, 0), int(some[-1]) + 1 if len(some) else 0)
    cut = {}
    for name, values in outputs.items():
        for dim, axis in signature.outputs[name].free.items():
            values = values[(slice(None),) * axis + (slice(needed[dim]),)]
        cut[name] = values
    return cut


def request_error(error: Exception) -> RequestError:
    """The answer to a client for an error of the model: its first line, without graph locations."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, UnicodeDecodeError):  # TensorFlow failed to read its own message
        return RequestError("The model refuses these bytes")
    if not isinstance(error, tf.errors.OpError):
        logger.exception("the model failed")
        return RequestError("The model failed; the server's log says how", 500)
    return RequestError(plain(error)[:500] or "refused", _STATUS.get(type(error), 400))


def plain(error: Exception) -> str:
    """The first lines of a message of TensorFlow's, without places in a graph."""
    text = re.sub(
        r"\{\{.*?\}\}|\[Op:.*?\]|<stack traces unavailable>",
        "",
        getattr(error, "message", None) or str(error),
    )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join([line for line in lines if not _PLACE.match(line)][:2])


_PLACE = re.compile(r"Graph execution error|Detected at node|File |\[\[|\d+ root error|\(\d+\) ")


def _lengthened(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, size - values.shape[axis])
    return np.pad(values, widths)
