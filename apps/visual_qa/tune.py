"""Searches options of visual question answering by the accuracy on validation.

python -m apps.visual_qa.tune --study-dir runs/study [--trials 20]
"""

from apps.visual_qa.config import APP, MONITOR, PRESETS, SEARCH, Config
from apps.visual_qa.train import choose_preset
from common.runs import cli
from common.training import tuning

main = tuning.command(APP, Config, PRESETS, SEARCH, MONITOR)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS, choose=choose_preset)
