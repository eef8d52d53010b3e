"""Serves SavedModels: `python -m serving --model NAME=DIR` (docs/guides/serving.md)."""

import argparse
import dataclasses
import errno
import logging
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from serving.errors import UserError
from serving.options import Limits, Settings


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see python -m serving --help")


def main(arguments: list[str]) -> int:
    """Runs the server until it is stopped; returns the exit code."""
    try:
        return serve(parse(arguments))
    except UserError as error:
        print(f"python -m serving: {error}", file=sys.stderr)
        return 2


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the options.

    Raises:
        UserError: one is unknown, missing or wrong.
    """
    parser = Parser(
        prog="python -m serving",
        description="Serves SavedModels over TensorFlow Serving's REST interface.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--model",
        action="append",
        required=True,
        metavar="NAME=DIR",
        type=named_folder,
        help="a SavedModel, or a folder with versions 1/, 2/, ...; may be given again",
    )
    add("--port", type=int, default=8501, help="0 takes a free one (default %(default)s)")
    add("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default %(default)s)")
    add("--token-file", type=Path, help="its text is what clients must send as bearer token")
    origin = "origin of pages that may ask from a browser, or *; may be given again"
    add("--allow-origin", action="append", default=[], type=origin_of, metavar="URL", help=origin)
    for field in (*dataclasses.fields(Limits), *dataclasses.fields(Settings)):
        add(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=f"{field.metadata['help']} (default %(default)s)",
        )
    return parser.parse_args(arguments)


def named_folder(text: str) -> tuple[str, Path]:
    """NAME=DIR."""
    name, _, folder = text.partition("=")
    if not (re.fullmatch(r"[A-Za-z0-9._-]+", name) and folder):
        raise argparse.ArgumentTypeError(
            f"expected NAME=DIR with a name of letters, digits, '.', '_', '-', got {text!r}"
        )
    return name, Path(folder)


def origin_of(text: str) -> str:
    """As browsers send it: a scheme, a host and a port, or null; * is any."""
    if not re.fullmatch(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@,A-Z]+", text):
        raise argparse.ArgumentTypeError(f"expected https://host[:port] or *, got {text!r}")
    return text


def serve(options: argparse.Namespace) -> int:
    """Listens, loads the models, and answers until SIGTERM or SIGINT.

    Raises:
        UserError: an option, a folder or the port is wrong, or a model cannot be loaded.
    """
    folders = dict(options.model)
    if len(folders) < len(options.model):
        raise UserError("expected every --model under its own name, got one twice")
    for name, folder in folders.items():
        check_folder(name, folder)
    try:
        limits = Limits(**chosen(options, Limits))
        settings = Settings(**chosen(options, Settings))
    except ValueError as error:
        raise UserError(str(error)) from None
    token = read_token(options.token_file)
    listener = listen(options.host, options.port)

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
    import uvicorn

    from serving.server import Protocol, Serving, create_app

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    serving = Serving(folders, limits, settings)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(serving, token, options.allow_origin),
            http=Protocol,
            log_config=None,
            access_log=False,
            ws="none",
            server_header=False,
            timeout_keep_alive=75,  # longer than most clients keep a connection that they may use
            timeout_graceful_shutdown=int(settings.stop_s),
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has stopped; then the exit code is 0 all the same.
        signal.signal(number, lambda *_: None)
    address = f"http://{netloc(*listener.getsockname()[:2])}"
    logging.getLogger("serving").info("listening at %s, page at %s/docs", address, address)
    serving.on_failure = lambda: setattr(server, "should_exit", True)
    server.run(sockets=[listener])
    if serving.failure:
        raise UserError(serving.failure)
    return 0


def chosen(options: argparse.Namespace, kind: type) -> dict:
    """The options that are fields of `kind`."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(kind)}


def check_folder(name: str, folder: Path) -> None:
    """Raises UserError for a folder that can hold no SavedModel."""
    try:
        if not folder.is_dir():
            raise UserError(f"--model {name}: expected a folder, found none at {folder}")
        numbered = [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
        graph = (folder / "saved_model.pb").is_file()
    except OSError as error:
        raise UserError(f"--model {name}: {folder} cannot be read ({error.strerror})") from None
    if not graph and not numbered:
        raise UserError(
            f"--model {name}: expected saved_model.pb or folders 1/, 2/, ... in {folder}, found "
            "neither: export a model there"
        )


def read_token(path: Path | None) -> str | None:
    """The text of a token file, without white space around it."""
    if path is None:
        return None
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file {path}: expected a file of ASCII text ({error})") from None
    if not token:
        raise UserError(f"--token-file {path}: expected a token, the file is empty")
    return token


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; before TensorFlow is imported, so that a taken port is reported at once.

    Of the addresses of a name that of IPv4 comes first; `::` takes IPv4 too where the system can.
    """
    host = host.strip("[]")
    try:
        hosts = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        family, address = min((family, address) for family, *_, address in hosts)
        if not 0 <= port < 2**16:
            raise OSError(errno.ERANGE, "no such port")
        return socket.create_server(
            (address[0], port, *address[2:]),
            family=family,
            backlog=2048,
            dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6(),
        )
    except (OSError, UnicodeError) as error:
        of_port = (errno.EADDRINUSE, errno.EACCES, errno.ERANGE)
        option = "--port" if getattr(error, "errno", None) in of_port else "--host"
        where = netloc(host, port)
        raise UserError(f"cannot listen at {where} ({error}): give another {option}") from None


def netloc(host: str, port: int) -> str:
    """A host and a port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
