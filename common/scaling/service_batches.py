"""The client: batches that the workers of a tf.data service make (data_service.py is the server).

TensorFlow's own ways to share a data set among workers keep no order. Here worker k of n makes the
batches k, k + n, ..., a job of its own for each, and they are put together in their order: they are
those of a training without the service, whatever n.
"""

import logging
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from common.runs.errors import UserError

logger = logging.getLogger("cellstate")

SECONDS = 30.0  # to wait for an answer
_ADVICE = "start one with `python -m common.scaling.data_service`, or leave --data.service out"
_server = tf.data.experimental.service


class Service(NamedTuple):
    """A tf.data service that answered."""

    address: str
    workers: tuple[int, ...]  # their numbers

    def map(self, parts: tf.data.Dataset, make: Callable) -> tf.data.Dataset:
        """What `make` makes of each of `parts`, in their order, each by one worker.

        Every worker reads all `parts`. A data set whose functions call Python cannot be sent.
        """
        streams = [
            _of_one_worker(parts.enumerate().shard(len(self.workers), place), make, worker)
            .apply(_server.distribute(_server.ShardingPolicy.HINT, self.address))
            .prefetch(2)
            for place, worker in enumerate(self.workers)
        ]
        numbered = tf.data.Dataset.zip(*streams).flat_map(_one_after_another)
        return tf.data.Dataset.zip(tf.data.Dataset.counter(), numbered).map(_checked)


def connect(address: str | None) -> Service | None:
    """Asks the service at `address`, grpc://host:port, who works for it; None without an address.

    Raises:
        UserError: the address is none, or nothing answers there within some seconds.
    """
    if address is None:
        return None
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    if not address.startswith("grpc://") or not host or not port.isdecimal():
        raise UserError(f"expected grpc://host:port for --data.service, got {address}: correct it")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"expected a tf.data service at {address}, nothing answers there ({error}): {_ADVICE}"
        ) from None
    workers: list[int] = []
    # In a thread: TensorFlow would wait for ever.
    asking = threading.Thread(target=lambda: workers.extend(_workers(address)), daemon=True)
    asking.start()
    asking.join(SECONDS)
    if not workers:
        raise UserError(
            f"expected a tf.data service with workers at {address}, none answered within "
            f"{SECONDS:.0f} seconds: {_ADVICE}"
        )
    logger.info("%s: %d workers make the batches", address, len(workers))
    return Service(address, tuple(sorted(workers)))


def _workers(address: str) -> list[int]:
    """The numbers of the workers: each gives the first that is its share of all numbers."""
    numbers = _own_number().apply(_server.distribute(_server.ShardingPolicy.HINT, address))
    return [int(number) for number in numbers.as_numpy_iterator()]


def _own_number() -> tf.data.Dataset:
    """In a worker, its number."""
    hint = tf.data.experimental.SHARD_HINT
    return tf.data.Dataset.range(np.iinfo(np.int64).max).shard(hint, hint).take(1)


def _of_one_worker(numbered: tf.data.Dataset, make: Callable, worker: int) -> tf.data.Dataset:
    """What `make` makes of `numbered` in that worker, with the numbers; nothing in the others."""

    def is_meant(number: tf.Tensor) -> tf.Tensor:
        return number == worker

    def made(number: tf.Tensor, part) -> tuple:
        return number, make(part)

    # The same order whatever number of threads makes them.
    meant = _own_number().filter(is_meant)
    return meant.flat_map(lambda _: numbered.map(made, num_parallel_calls=tf.data.AUTOTUNE))


def _one_after_another(*parts) -> tf.data.Dataset:
    """A data set of the parts, whose shapes may differ."""
    whole = tf.data.Dataset.from_tensors(parts[0])
    for part in parts[1:]:
        whole = whole.concatenate(tf.data.Dataset.from_tensors(part))
    return whole


def _checked(expected: tf.Tensor, numbered: tuple):
    number, made = numbered
    message = "a worker of the tf.data service has begun anew: start again with --resume"
    with tf.control_dependencies([tf.debugging.assert_equal(number, expected, message)]):
        return tf.nest.map_structure(tf.identity, made)
