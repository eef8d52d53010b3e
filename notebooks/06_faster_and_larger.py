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
# # Faster and larger
#
# Where the time of a training goes, and what to do about it: padding, the kernel of the LSTM, half
# precision, several workers, and runtimes without TensorFlow. Times are those of the machine that
# executed this page, perhaps beside other work; look at the ratios.

# %%
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, "..")
RUNS = Path("../runs/notebooks/faster")
shutil.rmtree(RUNS, ignore_errors=True)

from common.runs import cli

cli.start_tensorflow_quietly()

import numpy as np
import tensorflow as tf
from IPython.display import Image, Markdown

import common.layers  # noqa: F401  (makes the layers of a saved network known to Keras)
from apps.phoneme_tagging import config as phone_config
from apps.phoneme_tagging import data as phone_data
from benchmarks import commands, cost_model, recurrent_speed, runtimes_speed
from common.inputs import pipeline
from common.plots import figures
from common.runs import directory, files

tf.get_logger().setLevel("ERROR")

# %% [markdown]
# ## Padding
# Sequences of a batch are padded to the longest. Spoken sentences differ much in length:

# %%
spoken_options = replace(phone_config.SMALL.data, max_utterances=300)
spoken = phone_data.make_training_data(spoken_options, phone_config.TINY.model, batch_size=16)
lengths = np.sort(spoken.survey.lengths)
figures.curves(
    {"frames": lengths},
    x_label="utterance, the shortest first",
    y_label="frames of 10 ms",
    title="How long the sentences are",
    path=RUNS / "lengths.png",
)
Image(filename=RUNS / "lengths.png")

# %% [markdown]
# Batches of sentences of similar length waste less. The apps use buckets with equal numbers of
# sentences; a budget of frames instead evens out memory and time of the steps.

# %%
frames = 16 * int(np.mean(lengths))
thirds = [int(np.quantile(lengths, share)) for share in (1 / 3, 2 / 3)]
sixths = [int(np.quantile(lengths, share / 6)) for share in range(1, 6)]
ways = {
    "one bucket": pipeline.equal_batches([], batch_size=16),
    "three buckets": pipeline.equal_batches(thirds, batch_size=16),
    "six, a budget of frames": pipeline.token_budget(
        sixths, tokens=frames, longest=int(lengths[-1])
    ),
}
for name, buckets in ways.items():
    epoch = spoken._replace(buckets=buckets)
    batches = epoch.batches(seed=1).take(epoch.num_batches)
    masks = [batch["frame_mask"].numpy() for batch in batches]
    cells, real = sum(mask.size for mask in masks), sum(mask.sum() for mask in masks)
    largest = max(mask.size for mask in masks)
    padding = 1 - real / cells
    print(f"{name}: {len(masks)} batches, padding {padding:.0%}, at most {largest} frames")

# %% [markdown]
# Each training prints its share of padding after every epoch, and how often TensorFlow has traced
# its step: once, however many shapes the buckets make.
#
# ## The LSTM itself
# `common.lstm.layer` has the weights and results of `keras.layers.LSTM`, and skips padding. One
# layer, 32 sequences of up to 100 steps, of 30 to 100 % real steps; forward and backward together:

# %%
shape = recurrent_speed.Shape(
    batch=32, time=100, input_dim=64, units=128, bidirectional=False, layers=1
)
ragged = recurrent_speed.ragged_lengths(shape)
cases = {"full": (None, False), "ragged": (ragged, False), "full, bfloat16": (None, True)}
for case, (steps, low) in cases.items():
    layers = {
        name: recurrent_speed.make_keras_steps(shape, steps, ours=name == "ours", bfloat16=low)
        for name in ("ours", "keras")
    }
    taken = recurrent_speed.take_turns(layers, rounds=2)["train"]
    milliseconds = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in taken.items())
    print(f"{case}: {milliseconds}, {taken['ours'] / taken['keras']:.2f} of Keras' time")

# %% [markdown]
# bfloat16 (`--train.precision bfloat16`) halves what products read and write; weights, states,
# logits and loss stay in 32 bits. Whether that is faster depends on the processor's instructions;
# measure before you take it. `python -m benchmarks.recurrent_speed` has more shapes, and PyTorch
# beside them.
#
# ## Several workers
# Two processes on this machine train one model: each takes half of every batch, and the gradients
# are added up before each step. The weights are those of one process. If one of them is lost, the
# launcher starts both again, and they continue from the last checkpoint.

# %%
options = ["--preset", "tiny", "--train.deterministic", "--train.epochs", "2"]
here = {"cwd": "..", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
app = [sys.executable, "-m", "apps.visual_qa.train", *options]
launcher = [
    sys.executable,
    "-m",
    "common.scaling.launcher",
    "--workers",
    "2",
    "--restarts",
    "2",
    "--",
]
together = [*launcher, *app, "--train.strategy", "multi_worker"]
for name, command in (("two", together), ("one", app)):
    subprocess.run([*command, "--run-dir", f"runs/notebooks/faster/{name}"], **here)

# %%
alone, shared = (
    directory.RunDirectory.open(RUNS / name, app="visual_qa").load_model()
    for name in ("one", "two")
)
pairs = zip(alone.get_weights(), shared.get_weights(), strict=True)
apart = [float(np.abs(a - b).max()) for a, b in pairs]
print(f"the weights are {max(apart):.1e} apart at most")

# %% [markdown]
# What would more workers bring? A step costs compute, the sum of the gradients over the network and
# input. The terms were measured with two processes on one machine, and are projected to a network
# of 10 Gbit/s with the batch of a worker kept ([scaling](../docs/guides/scaling.md)):

# %%
report = files.read_json(commands.RESULTS / "scaling_cost.json")
Markdown(cost_model.as_markdown(report))

# %% [markdown]
# ## Without TensorFlow
# `export` writes the network of a run as a file for ONNX Runtime or LiteRT, with a `runtime.py`
# around it that needs NumPy alone: raw bytes and strings in, answers out. It compares both in a
# fresh process before the folder appears.

# %%
calls = runtimes_speed.whole("visual_qa", RUNS / "one")
milliseconds = runtimes_speed.in_turn(calls, rounds=15)
for name, value in milliseconds.items():
    print(
        f"{name}: {value} ms a question, {value / milliseconds['tensorflow']:.2f} of TensorFlow's"
    )

# %% [markdown]
# A network as small as this one waits more than it computes. The table of
# [runtimes](../docs/guides/runtimes.md) has the trained models of all apps, and their metrics in
# eight bits.
#
# ## What to do first
# Read the line that training prints after each epoch. *Waits for input* above a few per cent: use
# `--data.service`. *Padding* above a half: use more buckets. Choose the cell `lstm`; the others run
# step by step. Then try a larger batch with a larger rate, then a second machine.
