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

from serving.__main__ import main

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


def test_sigterm_lets_accepted_requests_finish(saved_model):
    command = [*COMMAND, "--model", f"all={saved_model}", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    url = None
    for line in process.stderr:
        url = url or re.search(r"http://[\d.:]+", line)
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
