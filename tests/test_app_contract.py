"""What every app promises (docs/architecture.md). The folders in apps/ are the parameters.

A new app is held to all of it before its author has written a test.
"""

import dataclasses
import hashlib
import importlib
import inspect
import json
import random
import re
import shutil
import subprocess
import sys
import time
import typing
from pathlib import Path

import pytest
import tensorflow as tf

from common.runs import cli
from common.runs.errors import UserError
from common.training import tuning
from common.training.logging import NUM_SAMPLES

ROOT = Path(__file__).parent.parent
APPS = sorted(path.name for path in (ROOT / "apps").iterdir() if (path / "config.py").exists())
COMMANDS = ("train", "evaluate", "predict", "export")
VERBS = {  # file -> functions, with their arguments by place
    "datasets": {"example_arguments": ()},
    "check_data": {"check": ()},
    "data": {"load_split": ("config", "split"), "make_training_data": ("config",)},
    "model": {"build_model": ("config",), "load_inference": ("run_dir",)},
    "train": {"train": ("config", "run_dir")},
    "evaluate": {"evaluate": ("run_dir", "split")},
    "predict": {"make_samples": ()},
    "export": {"export": ("run_dir", "output")},
}
KEYWORDS = {
    "train": {"resume", "dry_run"},
    "evaluate": {"root", "cache_dir"},
    "export": {"format"},
}
HELP = """
import importlib, sys
from common.runs import cli
app, *commands = sys.argv[1:]
sys.argv = ["x", "--help"]
for command in commands:
    main = importlib.import_module(f"apps.{app}.{command}").main
    try:
        cli.parse(main, ["--help"])
    except SystemExit as stop:
        assert not stop.code, command
    heavy = {"tensorflow", "keras", "matplotlib"} & set(sys.modules)
    assert not heavy, f"{command} imports {heavy}"
"""
# Predicts, then trains until it is killed: the two share the seconds in which TensorFlow starts.
PREDICT_AND_TRAIN = """
import json, runpy, sys
app, *lines = json.loads(sys.argv[1])
for command, *words in lines:
    sys.argv = [command, *words]
    try:
        runpy.run_module(f"apps.{app}.{command}", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        assert not stop.code, command
"""
GREATEST = {"cider": 10.0}  # ten times a mean of cosines; every other metric is a fraction


def module(app: str, name: str):
    return importlib.import_module(f"apps.{app}.{name}")


def shell(app: str, command: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", f"apps.{app}.{command}", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="session", params=APPS)
def app(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def tiny(app, tiny_run) -> Path:
    return tiny_run(app)


@pytest.fixture(scope="session")
def exported(app, tiny_export) -> Path:
    return tiny_export(app)


@pytest.mark.parametrize("file", sorted(VERBS))
def test_the_verbs_are_the_same_in_every_app(app, file):
    for verb, arguments in VERBS[file].items():
        function = getattr(module(app, file), verb, None)
        assert inspect.isfunction(function), f"{file}.py has no function {verb}"
        names = list(inspect.signature(function).parameters)
        assert tuple(names[: len(arguments)]) == arguments, f"{verb}({', '.join(names)})"
        assert KEYWORDS.get(verb, set()) <= set(names), f"{verb}({', '.join(names)})"


def test_training_data_are_batches_by_seed_and_epoch(app):
    hints = typing.get_type_hints(module(app, "data").make_training_data)
    training_data = hints["return"]
    assert issubclass(training_data, tuple), "a NamedTuple"
    for name in ("batches", "num_batches", "validation", "summary"):
        assert hasattr(training_data, name), name
    assert {"seed", "first_epoch"} <= set(inspect.signature(training_data.batches).parameters)


def test_the_inference_part_of_a_run_is_a_module_of_tensorflow(app, tiny):
    """Its lookup tables are tracked, and it takes raw inputs."""
    assert isinstance(module(app, "model").load_inference(tiny), tf.Module)
    assert callable(module(app, "predict").Predictor.load)


def test_help_comes_without_tensorflow(app):
    commands = [*COMMANDS, "tune", "check_data"]
    completed = subprocess.run(
        [sys.executable, "-c", HELP, app, *commands], cwd=ROOT, capture_output=True, text=True
    )
    assert completed.returncode == 0, completed.stderr
    for option, number in {"--run-dir": 4, "--study-dir": 1, "--data.root": 4}.items():
        assert completed.stdout.count(option) >= number, option


def test_a_misspelt_option_is_one_line_with_the_right_one_and_exit_code_2(app):
    completed = shell(app, "train", "--run-dir", "x", "--train.epoch", "3")
    assert completed.returncode == 2
    assert completed.stderr.count("\n") == 1
    assert "--train.epochs" in completed.stderr
    assert not (ROOT / "x").exists()


@pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
def test_presets_survive_the_run_directory(app, preset, tmp_path):
    from common.runs import directory, files

    config = module(app, "config").PRESETS[preset]
    files.write_json(tmp_path / "config.json", {"app": app, **dataclasses.asdict(config)})
    assert directory.read_config(tmp_path / "config.json", type(config)) == config


def test_the_options_of_a_run_are_a_config_file_for_another(app, tiny):
    presets = module(app, "config").PRESETS
    config = cli.default_config(presets, ["--config", str(tiny / "config.json")])
    assert config.model == presets["tiny"].model
    assert config.train.deterministic


@pytest.mark.parametrize("text", ["[]", "{", '{"model": {"lost": 1}}'])
def test_a_config_file_that_holds_no_options_of_the_app_is_named(app, tmp_path, text):
    (tmp_path / "best.json").write_text(text)
    with pytest.raises(UserError, match=r"best\.json: expected"):
        cli.default_config(module(app, "config").PRESETS, ["--config", str(tmp_path / "best.json")])


def test_the_search_begins_with_learning_rate_and_size_and_suits_the_options(app, tiny):
    config, space = module(app, "config").SMALL, module(app, "config").SEARCH
    first, second, *_ = space
    assert first == "train.learning_rate"
    assert second.endswith("units")
    for name, (kind, *values) in space.items():
        assert kind in ("log", "uniform", "one of")
        for value in values:
            tuning.changed(config, {name: value})
    header = (tiny / "history.csv").read_text().splitlines()[0]
    assert module(app, "config").MONITOR in header.split(",")


def test_training_leaves_a_whole_run_directory(app, tiny):
    names = {path.name for path in tiny.iterdir()}
    assert names >= {
        "config.json",
        "environment.json",
        "model.keras",
        "history.csv",
        "log",
        "checkpoints",
    }
    assert any(name.startswith("vocab") and name.endswith(".txt") for name in names)
    assert not [name for name in names if name.startswith(".")]
    environment = json.loads((tiny / "environment.json").read_text())
    assert {"packages", "git_commit", "seed", "lstm_kernel", "cpu_count"} <= set(environment)


def test_train_refuses_the_directory_of_another_run(app, run_command, tiny):
    before = (tiny / "config.json").read_bytes()
    with pytest.raises(UserError, match=r"another run.*--resume"):
        run_command(app, "train", "--run-dir", tiny, "--preset", "tiny")
    assert (tiny / "config.json").read_bytes() == before


def test_a_dry_run_in_half_precision_prints_its_cost_and_leaves_nothing(
    app, cache_dir, tmp_path, caplog
):
    caplog.set_level("INFO", logger="cellstate")
    tiny = module(app, "config").TINY
    config = dataclasses.replace(
        tiny,
        data=dataclasses.replace(tiny.data, cache_dir=cache_dir),
        train=dataclasses.replace(tiny.train, precision="float16"),
    )
    module(app, "train").train(config, tmp_path / "run", dry_run=True)
    assert re.search(r"Trainable params:\S* [\d,]+", caplog.text)
    assert re.search(r"model: \d+\.\d+ s for a step, at most \d+\.\d minutes", caplog.text)
    assert not (tmp_path / "run").exists()


def test_tensorboard_shows_validation_examples_after_each_epoch(app, tiny):
    folder = tiny / "log" / "tensorboard" / "model"
    samples = [
        (event.step, value.tag, tf.make_ndarray(value.tensor))
        for path in folder.glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag.startswith("sample_")
    ]
    assert len(samples) == 2 * 2 * NUM_SAMPLES  # a text and a picture in each of two epochs
    pictures = {(step, tag): value[2] for step, tag, value in samples if value.ndim}
    for step, tag, text in samples:
        if not text.ndim:
            assert re.search(r"\*\*.+\*\*", text.item().decode()), "nothing said, or nothing right"
            assert tf.io.decode_png(pictures[step, tag], channels=3).numpy().std() > 10


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluate_prints_the_promised_object(app, run_command, tiny, split, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")  # METEOR starts Java for 12 s: it has a test of its own
    run_command(app, "evaluate", "--run-dir", tiny, "--split", split, "--json")
    printed = json.loads(capsys.readouterr().out)
    assert {"app", "data", "split", "num_examples", "metrics", "baselines"} <= set(printed)
    assert (printed["app"], printed["split"]) == (app, split)
    assert printed["num_examples"] > 0
    assert printed["baselines"], "no blind baseline beside the model"
    for metrics in (printed["metrics"], *printed["baselines"].values()):
        assert all(0.0 <= value <= GREATEST.get(name, 1.0) for name, value in metrics.items())
    assert json.loads((tiny / f"metrics-{split}.json").read_text())["metrics"] == printed["metrics"]


@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_a_run_of_another_app_is_named(app, run_command, command, tmp_path):
    (tmp_path / "config.json").write_text('{"app": "other_app"}')
    arguments = module(app, "datasets").example_arguments() if command == "predict" else []
    with pytest.raises(UserError, match=f"expected a run of {app}, .* holds a run of other_app"):
        run_command(app, command, "--run-dir", tmp_path, *arguments)


def test_the_shell_gives_exit_code_2_and_one_line_for_a_missing_run(app, tmp_path):
    completed = shell(app, "evaluate", "--run-dir", tmp_path)
    assert completed.returncode == 2
    assert completed.stderr.count("\n") == 1
    assert f"apps.{app}.train" in completed.stderr


def test_a_vocabulary_that_is_not_the_models_is_refused(app, tiny, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny, run, ignore=shutil.ignore_patterns("checkpoints", "log"))
    for vocabulary in run.glob("vocab*.txt"):
        content = vocabulary.read_bytes()
        vocabulary.write_bytes(content + b"certainly\n")  # "yes\ncertainly" was one token
        for load in (module(app, "model").load_inference, module(app, "evaluate").evaluate):
            with pytest.raises(UserError, match=f"{vocabulary.name}: expected .* distinct tokens"):
                load(run)
        vocabulary.write_bytes(content)


def test_the_saved_model_takes_and_gives_what_the_card_says(app, exported):
    card = json.loads((exported / "assets.extra" / "card.json").read_text())
    assert set(card) >= {"task", "inputs", "outputs", "training_data", "metrics", "licences"}
    signatures = tf.saved_model.load(str(exported)).signatures
    described = {"serving_default": card, **card.get("signatures", {})}
    assert set(described) == set(signatures)
    for name, fields in described.items():
        _, inputs = signatures[name].structured_input_signature
        check_fields(fields["inputs"], inputs)
        check_fields(fields["outputs"], signatures[name].structured_outputs)
    for field in card["inputs"].values():
        assert field["dims"][0] == "batch", "the batch is free"


def check_fields(fields: dict[str, dict], specs: dict[str, tf.TensorSpec]) -> None:
    """The machine-readable part of a card beside the tensors of a signature."""
    assert set(fields) == set(specs)
    for name, spec in specs.items():
        field = fields[name]
        assert field["dtype"] == spec.dtype.name, name
        assert len(field["dims"]) == spec.shape.rank, name
        for dim, size in zip(field["dims"], spec.shape, strict=True):
            if isinstance(dim, int):
                assert size in (dim, None), name
            elif dim == "batch":
                assert size is None, f"{name}: the batch is free"


def test_the_saved_model_needs_no_python_and_no_xla(app, exported):
    from common.export import saved_model

    assert saved_model.unportable_operations(exported) == set()


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_the_export_for_a_runtime_stands_on_its_own(app, tiny_export, format):
    """Its answers are held to those of TensorFlow by `export` itself, in a process without it."""
    folder = tiny_export(app, format)
    card = json.loads((folder / "card.json").read_text())
    assert set(card) >= {"task", "inputs", "outputs", "training_data", "metrics", "licences"}
    assert list(folder.glob("*.onnx" if format == "onnx" else "*.tflite"))
    needed = {name.split("==")[0].replace("-", "_") for name in card["needs"]}
    beside = {path.stem for path in folder.glob("*.py")}
    assert beside >= {"runtime", "network"}
    for path in folder.glob("*.py"):
        words = re.findall(r"^ *(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
        foreign = set(words) - beside - set(sys.stdlib_module_names)
        assert foreign <= needed | {"PIL", "onnxruntime", "ai_edge_litert"}, path


def test_a_fresh_process_predicts_and_a_run_that_is_killed_there_resumes_to_the_same_weights(
    app, run_command, tiny, tiny_options, cache_dir, tmp_path, pytestconfig
):
    """Every batch has a checkpoint, so that kills fall into the writing of one too."""
    path, draw = tmp_path / "resumed", random.Random(0)
    predict = ["predict", "--run-dir", tiny, *module(app, "datasets").example_arguments()]
    predict += ["--json", "--plot", tmp_path / "plot.png"]
    train = ["train", *tiny_options(path), "--train.checkpoint-minutes", "0"]
    for kill in range(pytestconfig.getoption("kills")):
        lines = [[*train, "--resume"]] if kill else [predict, train]
        command = [sys.executable, "-uc", PREDICT_AND_TRAIN, json.dumps([app, *lines], default=str)]
        with (tmp_path / f"out-{kill}").open("w") as out, (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=log)
        before = newest_checkpoint(path)
        while newest_checkpoint(path) == before and process.poll() is None:
            time.sleep(0.005)
        ended = kill == 0 and process.poll() is not None
        assert not ended, f"before its first checkpoint: {(tmp_path / 'log').read_text()}"
        time.sleep(draw.uniform(0, 0.5) * (kill > 0))
        process.kill()
        process.wait()
    assert isinstance(json.loads((tmp_path / "out-0").read_text()), dict)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "moved").symlink_to(cache_dir)  # as the data of a run may
    run_command(app, "train", "--run-dir", path, "--resume", "--data.cache-dir", tmp_path / "moved")
    assert weights_checksum(path) == weights_checksum(tiny)


def test_resume_refuses_other_options(app, run_command, tiny):
    with pytest.raises(UserError, match=r"train\.seed"):
        run_command(app, "train", "--run-dir", tiny, "--resume", "--train.seed", "99")


def test_no_stack_trace_reaches_a_user_whose_data_is_missing(
    app, run_command, tmp_path, monkeypatch
):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    run, options = tmp_path / "run", ("--preset", "tiny", "--data.cache-dir", tmp_path)
    try:
        run_command(app, "train", "--run-dir", run, *options)
    except UserError as error:
        assert "pip install" in str(error) and not (run / "config.json").exists()
    else:  # its data is made on the spot
        assert (run / "model.keras").exists()


def test_checking_data_counts_every_part_and_prepares_nothing(app, tmp_path):
    default = module(app, "config").TINY.data
    data = dataclasses.replace(default, cache_dir=tmp_path / "cache")
    report = module(app, "check_data").check(data, tmp_path / "sheet.png")
    counts = report.tally.counts
    assert all(min(counts[part].values()) > 0 for part in ("train", "validation", "test"))
    assert counts["train"].total() > counts["validation"].total()
    assert re.search(r"^broken rows: 0 of [\d,]+$", report.as_text(), re.MULTILINE)
    assert re.search(r"^(Enough|Not enough) to train", report.verdict())
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("*.tfrecord*")), "a training would take it for whole"


def test_what_predict_and_check_data_write_replaces_no_folder_no_input_and_no_run(
    app, run_command, tiny, tmp_path
):
    given = module(app, "datasets").example_arguments()
    inputs = [Path(value) for value in given if Path(value).is_file()]
    (tmp_path / "results.png").mkdir()
    (tmp_path / "results.png" / "thesis.txt").write_text("precious")
    (tmp_path / "link.png").symlink_to("results.png")
    paths = [tmp_path / "results.png", tmp_path / "link.png", tmp_path, tiny, tiny / "model.keras"]
    hints = typing.get_type_hints(module(app, "predict").main, include_extras=True)
    options = [name for name, hint in hints.items() if hint == cli.OutputFile]
    assert {"plot", "csv", "textgrid", "ctm", "output"} & set(hints) == set(options)
    for option in options:
        for path in (*paths, *inputs):
            with pytest.raises(UserError, match="expected a new file or an older one"):
                run_command(app, "predict", "--run-dir", tiny, *given, f"--{option}", path)
    for path in paths[:-2]:
        with pytest.raises(UserError, match="expected a new file or an older one"):
            run_command(app, "check_data", "--plot", path)
    assert (tmp_path / "results.png" / "thesis.txt").read_text() == "precious"


def test_an_export_replaces_no_run_and_no_folder_above_one(app, run_command, tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "runs" / "a")
    (tmp_path / "link").symlink_to("runs/a")
    run = tmp_path / "runs" / "a"
    before = sorted(tmp_path.rglob("*"))
    spelled = (run, run / "log" / "..", run.parent, run / "checkpoints", tmp_path / "link")
    for output in spelled:
        with pytest.raises(UserError, match=r"or an older export .* name another --output"):
            run_command(app, "export", "--run-dir", run, "--output", output)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_ones_own_that_is_not_there_is_one_line(app, run_command, tmp_path):
    where = ("--data.name", "folder", "--data.root", tmp_path / "nowhere")
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "nowhere"))) as raised:
        run_command(app, "check_data", *where)
    assert "\n" not in str(raised.value)


def test_its_readme_shows_its_commands(app):
    # test_readme.py parses them.
    text = (ROOT / "apps" / app / "README.md").read_text()
    commands = set(re.findall(rf"python -m apps\.{app}\.(\w+) ", text))
    assert commands >= {*COMMANDS, "check_data"}


def newest_checkpoint(path: Path) -> int:
    steps = (path / "checkpoints" / "model").glob("[0-9]*")
    return max((int(step.name) for step in steps), default=-1)


def weights_checksum(path: Path) -> str:
    import keras

    from common.layers import attention, recurrent  # noqa: F401  (they register their layers)

    model = keras.saving.load_model(path / "model.keras", compile=False)
    return hashlib.sha256(b"".join(w.numpy().tobytes() for w in model.weights)).hexdigest()
