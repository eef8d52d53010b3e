"""Searches options of phoneme tagging by the phone error rate on validation.

python -m apps.phoneme_tagging.tune --study-dir runs/study [--trials 20]
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

from apps.phoneme_tagging.config import APP, MONITOR, PRESETS, SEARCH, Config
from common import cli


def main(
    *,
    study_dir: Path,
    config: Annotated[Config, cli.FLAT],
    preset: Literal["tiny", "small", "paper"] = "small",
    config_file: cli.ConfigFile = None,
    trials: int = 20,
) -> None:
    """Trains phoneme tagging with other options again and again (SEARCH in config.py).

    Args:
        study_dir: New folder for the trials, or that of a study to go on with.
        config: All options, where the search does not set them.
        preset: Where the defaults below come from: tiny (seconds), small (minutes), paper.
        config_file: A JSON file that they come from instead: a run's, or the best of `tune`.
        trials: How many in all, those that are done counted.
    """
    from common import tuning

    tuning.search(
        APP,
        config,
        SEARCH,
        command=(sys.executable, "-m", f"apps.{APP}.train"),
        monitor=MONITOR,
        study_dir=study_dir,
        trials=trials,
    )


if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
