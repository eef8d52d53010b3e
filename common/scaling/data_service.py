"""The server: a tf.data service, whose workers make the batches of trainings.

    python -m common.scaling.data_service --workers 2
    python -m apps.visual_qa.train --run-dir runs/vqa --data.service grpc://127.0.0.1:5050

For several machines see docs/guides/scaling.md.
"""

import argparse
import os
import signal
import sys
import threading

from common.runs import cli
from common.runs.errors import UserError
from common.scaling import launcher


def serve(options: argparse.Namespace) -> list:
    """Starts what the options of `main` name: TensorFlow's servers, which live as long as the list.

    Raises:
        UserError: the port is taken.
    """
    cli.start_tensorflow_quietly()
    import tensorflow as tf

    service = tf.data.experimental.service
    here = [f"127.0.0.1:{number}" for number in launcher.free_ports(options.workers)]
    workers, dispatcher, servers = here, f"127.0.0.1:{options.port}", []
    if options.worker:
        workers, dispatcher = [options.worker], options.dispatcher
    else:
        addresses = options.elsewhere or here
        config = service.DispatcherConfig(port=options.port, worker_addresses=addresses)
        try:
            servers.append(service.DispatchServer(config))
        except Exception as error:  # TensorFlow raises different kinds
            raise UserError(
                f"expected a free --port, {options.port} is not ({error}): name another"
            ) from None
    for address in workers if not options.elsewhere else ():
        port = int(address.rpartition(":")[2])
        config = service.WorkerConfig(dispatcher, worker_address=address, port=port)
        servers.append(service.WorkerServer(config))
    return servers


def main() -> int:
    """Reads the options and serves until it is stopped."""
    parser = argparse.ArgumentParser(description="Serves batches to trainings.")
    parser.add_argument("--port", type=int, default=5050, help="of the dispatcher")
    parser.add_argument("--workers", type=int, default=2, help="on this machine")
    parser.add_argument("--elsewhere", nargs="+", metavar="HOST:PORT", help="workers, not here")
    parser.add_argument("--worker", metavar="HOST:PORT", help="be the worker at this address")
    parser.add_argument("--dispatcher", metavar="HOST:PORT", help="of that worker")
    options = parser.parse_args()
    if bool(options.worker) != bool(options.dispatcher) or options.workers < 1:
        parser.error("expected --workers of at least 1; --worker and --dispatcher together")
    # At once: TensorFlow's servers would wait for the trainings that they have served.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        servers = serve(options)
        print(f"{len(servers)} servers: --data.service grpc://127.0.0.1:{options.port}", flush=True)
        threading.Event().wait()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
