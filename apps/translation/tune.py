"""Searches options of translation by the BLEU on validation.

python -m apps.translation.tune --study-dir runs/study [--trials 20]
"""

from apps.translation.config import APP, MONITOR, PRESETS, SEARCH, Config
from common.runs import cli
from common.training import tuning

main = tuning.command(APP, Config, PRESETS, SEARCH, MONITOR)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
