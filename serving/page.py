"""A page to try models on, by python -m serving.page --model NAME=DIR [--model ...].

It starts a server of its own and asks it as any client would, or uses one by --server.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from serving.__main__ import Parser, listen, named_folder, netloc, read_token
from serving.client import Client
from serving.errors import UserError
from serving.signatures import read_card, read_signatures

STYLE = """
.answer { min-height: 2.5em; overflow-wrap: anywhere }
.strip .grid-wrap { min-height: 0 !important }
.strip .grid-container { grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)) !important }
@media (max-width: 480px) { .gradio-container { padding: 8px !important } }
"""


def main(arguments: list[str]) -> int:
    """Shows the page until it is stopped; returns the exit code."""
    # From the beginning: the server that is started must not outlive this process.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options = parse(arguments)
        models = {name: read_model(name, newest(folder)) for name, folder in options.model}
        with server_of(options) as client:
            show(models, options, client)
    except UserError as error:
        print(f"python -m serving.page: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the options.

    Raises:
        UserError: one is unknown, missing or wrong.
    """
    parser = Parser(
        prog="python -m serving.page", description="A page to try models on.", allow_abbrev=False
    )
    model = "an exported SavedModel with its card.json; may be given again"
    add = parser.add_argument
    add(
        "--model", action="append", required=True, metavar="NAME=DIR", type=named_folder, help=model
    )
    add(
        "--port",
        type=int,
        default=7860,
        help="of the page; 0 takes a free one (default %(default)s)",
    )
    add("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default %(default)s)")
    add("--server", metavar="URL", help="a server that has these models; else one is started")
    add("--token-file", type=Path, help="its text is the bearer token that the server asks for")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def server_of(options: argparse.Namespace) -> Iterator[Client]:
    """The server of --server, or one that lives as long as this context.

    Raises:
        UserError: it cannot be reached, or does not start.
    """
    token = read_token(options.token_file)
    if options.server:
        client = Client(options.server, token)
        if not client.ready():
            raise UserError(
                f"expected a server that is ready at {options.server}, found none: start one with "
                "python -m serving, or leave --server out"
            )
        yield client
        return
    port = free_port()
    command = [sys.executable, "-m", "serving", "--port", str(port)]
    for name, folder in options.model:
        command += ["--model", f"{name}={folder}"]
    if options.token_file:
        command += ["--token-file", str(options.token_file)]
    # A stop that came while the server is being started would leave it behind: it waits until then.
    stopped: list[int] = []
    stops = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, _: stopped.append(number)) for number in stops]
    process = subprocess.Popen(command)
    try:
        for number, handler in zip(stops, before, strict=True):
            signal.signal(number, handler)
        if stopped:
            raise KeyboardInterrupt
        client = Client(f"http://127.0.0.1:{port}", token)
        while not client.ready():
            if process.poll() is not None:
                raise UserError("expected the server to start, it ended: see its message above")
            time.sleep(0.2)
        yield client
    finally:
        process.terminate()
        process.wait()


def show(
    models: Mapping[str, tuple[dict, list]], options: argparse.Namespace, client: Client
) -> None:
    """Shows a tab for each model, name -> (card, examples), until SIGTERM or SIGINT.

    Raises:
        UserError: it cannot listen there.
    """
    with listen(options.host, options.port) as listener:
        port = listener.getsockname()[1]
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")  # nothing leaves here
    page = make_page(models, client)
    try:
        page.launch(
            server_name=f"[{options.host}]" if ":" in options.host else options.host,
            server_port=port,
            share=False,
            quiet=True,
            footer_links=[],
            css=STYLE,
            prevent_thread_lock=True,
            allowed_paths=[str(newest(folder).resolve()) for _, folder in options.model],
        )
    except OSError:
        raise UserError(
            f"cannot listen at {netloc(options.host, port)}: give another --port"
        ) from None
    print(f"page at {page.local_url}", flush=True)
    try:
        page.block_thread()
    finally:
        page.close()


def make_page(models: Mapping[str, tuple[dict, list]], client: Client):
    """Gradio's blocks: a tab for each model, which the server is asked for its signatures."""
    import gradio as gr

    from serving import tabs

    with gr.Blocks(title="Cellstate", analytics_enabled=False) as page:
        gr.Markdown("# Try the models")
        for name, (card, examples) in models.items():
            with gr.Tab(name, elem_id=name):
                gr.Markdown(describe(card))
                signatures = read_signatures(client.definitions(name), card)
                task = str(card.get("task", ""))
                tabs.make(tabs.Tab(name, signatures, examples), task, client)
                with gr.Accordion("Model card", open=False):
                    gr.JSON(card, show_label=False)
    return page


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def newest(folder: Path) -> Path:
    """The SavedModel in a folder, or its highest version."""
    if (folder / "saved_model.pb").exists():
        return folder
    numbers = [int(path.parent.name) for path in folder.glob("[0-9]*/saved_model.pb")]
    return folder / str(max(numbers, default=""))


def read_model(name: str, folder: Path) -> tuple[dict, list[dict[str, str]]]:
    """The card of a SavedModel and its examples, the names of files made whole.

    Both are empty where the export has none.

    Raises:
        UserError: one of them cannot be read.
    """
    extra = folder / "assets.extra"
    stored = extra / "examples.json"
    try:
        card = read_card(folder)
        rows = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else []
    except ValueError as error:
        raise UserError(
            f"--model {name}: expected JSON in card.json and examples.json of {extra}, got "
            f"something else ({error}): export the run again"
        ) from None
    return card, [
        {
            key: value if isinstance(value, str) else str(extra / value["file"])
            for key, value in row.items()
        }
        for row in rows
    ]


def describe(card: dict) -> str:
    """Task, data and the metrics of the test split, as a line of Markdown."""
    parts = [str(card.get("task", "A model without a card"))]
    if "training_data" in card:
        parts.append(f"trained on {card['training_data']}")
    figures = card.get("metrics", {}).get("test", {}).get("metrics", {})
    text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    return ", ".join(parts) + (f"; test: {text}" if text else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
