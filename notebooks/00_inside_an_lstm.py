# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Inside an LSTM

# %%
import sys
from pathlib import Path

sys.path.insert(0, "..")
RUNS = Path("../runs/notebooks")

from common import cli

cli.start_tensorflow_quietly()
