"""Searches options of image captioning by the CIDEr on validation.

python -m apps.image_captioning.tune --study-dir runs/study [--trials 20]
"""

from apps.image_captioning.config import APP, MONITOR, PRESETS, SEARCH, Config
from common.runs import cli
from common.training import tuning

main = tuning.command(APP, Config, PRESETS, SEARCH, MONITOR)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
