"""Searches options of phoneme tagging by the phone error rate on validation.

python -m apps.phoneme_tagging.tune --study-dir runs/study [--trials 20]
"""

from apps.phoneme_tagging.config import APP, MONITOR, PRESETS, SEARCH, Config
from common.runs import cli
from common.training import tuning

main = tuning.command(APP, Config, PRESETS, SEARCH, MONITOR)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
