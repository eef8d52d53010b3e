"""Searches options by trainings of an app, with Optuna: resumable, by several processes at once.

The first two options of a search space should be the learning rate and the size: they matter most
(Greff et al. 2015, https://arxiv.org/abs/1503.04069).
"""

import csv
import dataclasses
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from common.runs import cli, files
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")

_POLL_S = 0.1  # between two looks at the history of a trial

# By dotted name of an option: ("log", low, high), ("uniform", low, high) or ("one of", *values).
SearchSpace = Mapping[str, tuple]


def command(
    app: str,
    config_type: type,
    presets: Mapping[str, object],
    space: SearchSpace,
    monitor: str,
) -> Callable[..., None]:
    """The `main` of an app's tune.py; arguments as in `search`."""

    def main(
        *,
        study_dir: Path,
        config: Annotated[config_type, cli.FLAT],  # pyright: ignore[reportInvalidTypeForm]
        preset: cli.preset_option(presets) = None,  # pyright: ignore[reportInvalidTypeForm]
        config_file: cli.ConfigFile = None,
        trials: int = 20,
    ) -> None:
        """Searches the options of SEARCH in config.py by trainings, and writes the best.

        Args:
            study_dir: New folder for the trials, or that of a study to continue.
            config: All options, where the search does not set them.
            config_file: A JSON file that they come from instead: a run's, or the best of `tune`.
            trials: How many in all, those that are done counted.
        """
        train = (sys.executable, "-m", f"apps.{app}.train")
        search(
            app,
            config,
            space,
            command=train,
            monitor=monitor,
            study_dir=study_dir,
            trials=trials,
        )

    return main


def search(
    app: str,
    config: object,
    space: SearchSpace,
    *,
    command: Sequence[str],
    monitor: str,
    study_dir: Path,
    trials: int,
    seed: int = 1,
) -> dict:
    """Trains until the study in `study_dir` holds `trials` trials; the best options, by name.

    Each trial is a run of its own, in trials/<number>. After each of its epochs it is stopped when
    its best `monitor` is below the median of the other trials at that epoch. study.db holds what
    was tried, best.json is a config for `train --config`, study.png shows the trials. The test part
    is never read.

    Args:
        app: its name.
        config: its options, where the search does not set them.
        space: what to search.
        command: trains by --config FILE and --run-dir DIR, and writes history.csv there.
        monitor: a column of history.csv that should be high.
        study_dir: a new folder, or that of a study to continue.
        trials: in all, those that are done counted.
        seed: of the search.

    Raises:
        UserError: the folder holds a study of something else, or the training of a trial fails.
    """
    import optuna
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    contents = {"app": app, "space": {name: list(kind) for name, kind in space.items()}}
    path = study_dir / "study.json"
    if not path.exists():
        # Another process may be writing study.json.
        if study_dir.is_dir() and any(study_dir.glob("[!.]*")) and not path.exists():
            raise UserError(
                f"expected a new or empty folder for --study-dir, {study_dir} holds other files: "
                "name another"
            )
        files.write_json(path, contents)
    elif files.read_json(path) != contents:
        raise UserError(
            f"expected a study of the same app and search space in {study_dir}, "
            f"{path} has others: name another --study-dir"
        )
    # As a URI: in a plain path "?" begins SQLAlchemy's options, and "{" a template of Optuna.
    database = quote(os.fsencode(os.path.realpath(study_dir / "study.db")))
    url = sqlalchemy.URL.create("sqlite", database=f"file:{database}", query={"uri": "true"})
    study = optuna.create_study(
        storage=url.render_as_string(),
        study_name=app,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
        load_if_exists=True,
    )

    def write_best() -> None:
        best = changed(config, study.best_params)
        files.write_json(study_dir / "best.json", dataclasses.asdict(best))

    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    while len(study.get_trials(states=ended)) < trials:
        trial = study.ask()
        # Each trial draws for itself: the same where a study goes on, others in other processes.
        study.sampler = optuna.samplers.TPESampler(seed=seed + trial.number)
        options = {name: _suggest(trial, name, kind) for name, kind in space.items()}
        logger.info("trial %d: %s", trial.number, options)
        value, pruned = _train(command, changed(config, options), trial, monitor, study_dir)
        # Optuna has the value of a trial that was stopped.
        study.tell(trial, None if pruned else value, ended[1] if pruned else ended[0])
        stopped = ", stopped" if pruned else ""
        logger.info("trial %d: %s %.4f%s", trial.number, monitor, value, stopped)
        write_best()
    write_best()  # also where an earlier command was stopped before it did
    _draw(study, monitor, study_dir / "study.png")
    logger.info(
        "best: %s %.4f with %s; `train --config %s`",
        monitor,
        study.best_value,
        study.best_params,
        study_dir / "best.json",
    )
    return study.best_params


def changed(config: Any, values: Mapping[str, object]) -> Any:
    """A frozen dataclass with other values, by dotted names."""
    for name, value in values.items():
        first, _, rest = name.partition(".")
        new = changed(getattr(config, first), {rest: value}) if rest else value
        config = dataclasses.replace(config, **{first: new})
    return config


def _suggest(trial, name: str, kind_and_values: tuple):
    kind, *values = kind_and_values
    if kind == "one of":
        return trial.suggest_categorical(name, values)
    low, high = values
    return trial.suggest_float(name, low, high, log=kind == "log")


def _train(
    command: Sequence[str], config, trial, monitor: str, study_dir: Path
) -> tuple[float, bool]:
    """Trains in a process of its own; the best value, and whether it was stopped for being low."""
    run_dir = study_dir / "trials" / f"{trial.number:04d}"
    config_file = run_dir.with_suffix(".json")
    files.write_json(config_file, dataclasses.asdict(config))
    options = ("--config", config_file, "--run-dir", run_dir)
    num_reported, pruned = 0, False
    with run_dir.with_suffix(".log").open("w") as log:
        process = subprocess.Popen([*command, *map(str, options)], stdout=log, stderr=log)
        try:
            while process.poll() is None and not pruned:
                time.sleep(_POLL_S)
                values = _values(run_dir, monitor)
                for epoch in range(num_reported, len(values)):
                    trial.report(max(values[: epoch + 1]), epoch)
                    pruned = trial.should_prune()
                num_reported = len(values)
        finally:
            process.kill()
            process.wait()
    values = _values(run_dir, monitor)
    if not pruned and (process.returncode or not values):
        raise UserError(
            f"expected the training of trial {trial.number} to end well, it ended with exit code "
            f"{process.returncode}: see {log.name}"
        )
    return max(values), pruned


def _values(run_dir: Path, monitor: str) -> list[float]:
    path = run_dir / "history.csv"
    if not path.exists():
        return []
    return [float(row[monitor]) for row in csv.DictReader(path.read_text().splitlines())]


def _draw(study, monitor: str, path: Path) -> None:
    """The values of the trials over each option."""
    import optuna

    with warnings.catch_warnings(action="ignore"):  # Optuna calls its pictures experimental
        plot = optuna.visualization.matplotlib.plot_slice(study, target_name=monitor)
    axes = list(getattr(plot, "flat", [plot]))
    with files.replacing(path) as temporary:
        axes[0].figure.savefig(temporary)
