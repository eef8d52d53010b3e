"""`python -m serving`: options, errors, and how it stops."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from serving.__main__ import listen, main, netloc
from serving.errors import UserError

try:
    socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    LOOPBACK = "::1"
except OSError:  # a machine without IPv6
    LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "serving"]


HELP = """
import sys
from serving.__main__ import main
try:
    main(["--help"])
except SystemExit as end:
    print(end.code, {"tensorflow", "numpy"} & set(sys.modules))
"""


def test_help_names_every_option_without_tensorflow():
    ended = subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True)
    assert "--max-megapixels" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "0 set()"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model"),
        (["--model", "a"], "expected NAME=DIR"),
        (["--model", "../a=."], "expected NAME=DIR"),
        (["--model", "a={tmp}/none"], "expected a folder, found none at"),
        (["--model", "a={tmp}"], "expected saved_model.pb or folders 1/, 2/"),
        (["--model", "a={model}", "--model", "a={model}"], "got one twice"),
        (["--model", "a={model}", "--timeout-s", "-1"], "--timeout-s: expected above 0, got -1"),
        (["--model", "a={model}", "--port", "70000"], "give another --port"),
        (["--model", "a={model}", "--port", "{taken}"], "give another --port"),
        (["--model", "a={model}", "--host", "no.such.host.invalid"], "give another --host"),
        (["--model", "a={model}", "--host", "203.0.113.1"], "give another --host"),
        (["--model", "a={model}", "--host", "2001:db8::1"], "at [2001:db8::1]:8501"),
        (["--model", "a={model}", "--host", "a" * 80], "give another --host"),
        (["--model", "a={model}", "--host", ""], "give another --host"),
        (["--model", "a={model}", "--host", "1.2.3.999"], "give another --host"),
        (
            ["--model", "a=.", "--allow-origin", "https://a.example/"],
            "expected https://host[:port]",
        ),
        (["--model", "a=.", "--allow-origin", "a.example"], "got 'a.example'"),
        (["--model", "a=.", "--allow-origin", ""], "got ''"),
        (["--model", "a=/" + "a" * 300], "cannot be read (File name too long)"),
        (["--model", "a={model}", "--token-file", "{tmp}/none"], "--token-file"),
        (["--model", "a={model}", "--unknown"], "unrecognized arguments"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_2(arguments, message, tmp_path, capsys):
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").touch()
    empty = tmp_path / "empty"
    empty.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {"tmp": empty, "model": model, "taken": taken.getsockname()[1]}
        assert main([argument.format(**values) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("host", "family", "address"),
    [
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("localhost", socket.AF_INET, "127.0.0.1"),
        ("0.0.0.0", socket.AF_INET, "127.0.0.1"),
        ("::1", socket.AF_INET6, "::1"),
        ("[::1]", socket.AF_INET6, "::1"),
        ("0:0:0:0:0:0:0:1", socket.AF_INET6, "::1"),
        ("::", socket.AF_INET6, "::1"),
        ("::", socket.AF_INET6, "127.0.0.1"),
    ],
)
def test_it_listens_where_it_is_told(host, family, address):
    if family == socket.AF_INET6 and LOOPBACK != "::1":
        pytest.skip("no IPv6 here")
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert listener.family == family
        socket.create_connection((address, port), 5).close()
        with pytest.raises(UserError, match=f":{port} .*give another --port"):
            listen(host, port)


def test_addresses_are_written_as_urls_have_them():
    assert netloc("127.0.0.1", 80) == "127.0.0.1:80"
    assert netloc("::1", 80) == "[::1]:80"


def test_sigterm_lets_accepted_requests_finish(saved_model):
    command = [*COMMAND, "--model", f"all={saved_model}", "--port", "0", "--host", LOOPBACK]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    url = None
    for line in process.stderr:
        url = url or re.search(rf"http://{re.escape(netloc(LOOPBACK, 0))[:-1]}\d+", line)
        if "version 1 answers" in line:
            break
    body = json.dumps({"signature_name": "slow", "inputs": {"steps": 300_000}}).encode()
    answers = []

    def ask():
        with urllib.request.urlopen(f"{url[0]}/v1/models/all:predict", body) as answer:
            answers.append(json.load(answer)["outputs"]["count"])

    asking = threading.Thread(target=ask)
    asking.start()
    while 'serving_batch_rows_count{model="all"} 1.0' not in metrics(url[0]):
        pass
    process.send_signal(signal.SIGTERM)
    asking.join()
    assert answers == [300_000]
    assert process.wait(20) == 0
    process.stderr.close()
    with pytest.raises(OSError):
        metrics(url[0])


def metrics(url):
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        return answer.read().decode()
