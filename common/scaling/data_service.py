"""The server: a tf.data service, whose workers make the batches of trainings.

    python -m common.scaling.data_service --workers 2
    python -m apps.visual_qa.train --run-dir runs/vqa --data.service grpc://127.0.0.1:5050

For several machines see docs/guides/scaling.md.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from common.runs import cli
from common.runs.errors import UserError
from common.scaling import launcher

if TYPE_CHECKING:
    import tensorflow as tf


def dispatch(port: int, addresses: Sequence[str]) -> "tf.data.experimental.service.DispatchServer":
    """Starts the dispatcher for workers that will have these addresses, host:port.

    Raises:
        UserError: the port is taken.
    """
    cli.start_tensorflow_quietly()
    import tensorflow as tf

    service = tf.data.experimental.service
    config = service.DispatcherConfig(port=port, worker_addresses=list(addresses))
    try:
        return service.DispatchServer(config)
    except Exception as error:  # TensorFlow raises different kinds
        raise UserError(f"expected a free --port, {port} is not ({error}): name another") from None


def work(address: str, dispatcher: str) -> None:
    """Is the worker at `address`, host:port, until the process ends."""
    cli.start_tensorflow_quietly()
    import tensorflow as tf

    service = tf.data.experimental.service
    port = int(address.rpartition(":")[2])
    config = service.WorkerConfig(dispatcher_address=dispatcher, worker_address=address, port=port)
    service.WorkerServer(config).join()


def serve_here(port: int, workers: int) -> int:
    """A dispatcher with workers of this machine, until one is lost; the exit code."""
    addresses = [f"127.0.0.1:{number}" for number in launcher.free_ports(workers)]
    dispatcher = dispatch(port, addresses)
    command = [
        sys.executable,
        "-m",
        "common.scaling.data_service",
        "--dispatcher",
        f"127.0.0.1:{port}",
    ]
    processes, announced = [], False
    try:
        for address in addresses:
            processes.append(subprocess.Popen([*command, "--worker", address]))
        while all(process.poll() is None for process in processes):
            if not announced and dispatcher._num_workers() == workers:
                print(f"--data.service grpc://127.0.0.1:{port}", flush=True)
                announced = True
            time.sleep(0.1)
        print("a worker was lost", file=sys.stderr)
        return 1
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> int:
    """Reads the options and serves."""
    parser = argparse.ArgumentParser(description="Serves batches to trainings.")
    parser.add_argument("--port", type=int, default=5050, help="of the dispatcher")
    parser.add_argument("--workers", type=int, default=2, help="on this machine")
    parser.add_argument("--elsewhere", nargs="+", metavar="HOST:PORT", help="workers, not here")
    parser.add_argument("--worker", metavar="HOST:PORT", help="be the worker at this address")
    parser.add_argument("--dispatcher", metavar="HOST:PORT", help="of that worker")
    options = parser.parse_args()
    if bool(options.worker) != bool(options.dispatcher) or options.workers < 1:
        parser.error("expected --workers of at least 1; --worker and --dispatcher together")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        if options.worker:
            work(options.worker, options.dispatcher)
        if options.elsewhere:
            dispatch(options.port, options.elsewhere).join()
        return serve_here(options.port, options.workers)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
