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
# # Phoneme tagging
#
# A waveform, and the phone of every 10 ms. A bidirectional LSTM reads the spectrum from both sides
# ([Graves & Schmidhuber 2005](https://doi.org/10.1016/j.neunet.2005.06.042)), and a Viterbi search
# with phone bigrams makes a string of what it says of each frame. The app is
# [apps/phoneme_tagging](../apps/phoneme_tagging/README.md); here it is trained on a part of its
# default data.

# %%
import logging
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, "..")
RUNS = Path("../runs/notebooks/phonemes")
shutil.rmtree(RUNS, ignore_errors=True)

from common.runs import cli

cli.start_tensorflow_quietly()

import tensorflow as tf
from IPython.display import Audio, Image

from apps.phoneme_tagging import config, data, evaluate, export, predict, train
from apps.phoneme_tagging.corpora import phones
from apps.phoneme_tagging.tagging import plots, scoring
from common.inputs import sound_files
from common.inputs.audio import SAMPLE_RATE
from common.plots import figures

# What trainings log stands in log/train.log of their runs.
logging.basicConfig(handlers=[logging.NullHandler()])
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# The options of the whole tour: the preset `SMALL` with 400 of its 2,000 sentences and four of its
# ten epochs.

# %%
small = config.SMALL
options = replace(
    small,
    data=replace(small.data, max_utterances=400),
    train=replace(small.train, epochs=4, learning_rate=8e-3),
)

# %% [markdown]
# ## The data
# Sentences from the documentation of Python packages, spoken by
# [espeak-ng](https://github.com/espeak-ng/espeak-ng) in 30 voices, with exact times of its phones.
# Voices and texts of validation are in no other part. The phones are those of
# [TIMIT](https://catalog.ldc.upenn.edu/LDC93S1).

# %%
records = list(data.load_split(options.data, "train").as_numpy_iterator())
plots.labelled_spectrograms(
    [
        (
            record["speaker"].decode(),
            record["waveform"] / 32768.0,
            list(zip(record["phone"].astype(str), record["start"], record["end"], strict=True)),
        )
        for record in records[:3]
    ],
    title="Voices and their phones, at most 3 seconds of each",
    path=RUNS / "data.png",
)
Image(filename=RUNS / "data.png")

# %%
print(records[0]["text"].decode())
Audio(records[0]["waveform"], rate=SAMPLE_RATE)

# %%
seconds = [len(record["waveform"]) / SAMPLE_RATE for record in records]
durations = Counter()
for record in records:
    for phone, length in zip(
        record["phone"].astype(str), record["end"] - record["start"], strict=True
    ):
        durations[phone] += int(length)
print(f"{len(records)} sentences, {sum(seconds) / 60:.1f} minutes, {len(durations)} phones")
print(f"{min(seconds):.1f} to {max(seconds):.1f} s each")
shares = [f"{phone} {n / durations.total():.1%}" for phone, n in durations.most_common(8)]
print("of the time:", ", ".join(shares))

# %% [markdown]
# ## Baselines first
# To say always the commonest phone is right in the share of time above. `evaluate`, below, fits two
# more on the same features: a logistic regression that sees one frame, and a perceptron that sees
# ten frames. What the LSTM adds to the perceptron is memory.

# %% [markdown]
# ## Train
# The epoch that is kept has the lowest phone error rate on validation.

# %%
run = train.train(options, RUNS / "both")
figures.learning_curves(
    run.path / "history.csv",
    metrics=["loss", "phone_accuracy"],
    title="Training",
    path=RUNS / "history.png",
)
Image(filename=RUNS / "history.png")

# %%
result = evaluate.evaluate(run.path, "validation")
print(result.as_table())

# %% [markdown]
# A phone error is a phone too many, too few, or another one; the rate is their number by the
# phones that were spoken, folded to the 39 of [Lee & Hon (1989)](https://doi.org/10.1109/29.46546).
# All baselines are decoded in the same way.

# %% [markdown]
# ## What does it hear?
# Below, the probability that the network gives to each phone at each moment, black 0 and pale
# yellow 1; above, the string that decoding makes of it.

# %%
predictor = predict.Predictor.load(run.path)
held_back = list(data.load_split(options.data, "validation").as_numpy_iterator())
example = held_back[0]["waveform"] / 32768.0
plots.phones_over_spectrogram(
    example,
    predictor.tag(example),
    title=held_back[0]["text"].decode(),
    path=RUNS / "heard.png",
)
Image(filename=RUNS / "heard.png")

# %% [markdown]
# This network has no attention: its memory takes the place of that. What the gates keep and drop
# on a waveform shows [00_inside_an_lstm](00_inside_an_lstm.py).

# %% [markdown]
# ## Its errors
# By class of phone: near the diagonal, phones are taken for their neighbours.

# %%
print((run.path / "confusion-validation.txt").read_text())
Image(filename=run.path / "confusion-validation.png")

# %% [markdown]
# Boundaries, and voices: how far do they differ?

# %%
for name, value in result.details["boundaries within 20 ms"].items():
    print(f"{name:24} {value:.2f}")
for name, value in result.details["by speaker"].items():
    print(f"{name:24} {value:.3f}")

# %% [markdown]
# The sentence with the most errors, as it was spoken and as it was heard:

# %%
rates = []
for number, record in enumerate(held_back):
    heard = [phone.phone for phone in predictor.tag(record["waveform"] / 32768.0).phones]
    row = scoring.Tagged([], [], heard, record["phone"].astype(str).tolist(), [])
    rates.append((scoring.error_rate([row]), number))
rate, number = max(rates)
worst = held_back[number]
waveform = worst["waveform"] / 32768.0
spoken = list(zip(worst["phone"].astype(str), worst["start"], worst["end"], strict=True))
heard = [
    (phone.phone, phone.start_s * SAMPLE_RATE, phone.end_s * SAMPLE_RATE)
    for phone in predictor.tag(waveform).phones
]
plots.labelled_spectrograms(
    [("spoken", waveform, spoken), ("heard", waveform, heard)],
    title=f"The worst of {len(rates)} sentences: phone error rate {rate:.0%}",
    path=RUNS / "worst.png",
)
Image(filename=RUNS / "worst.png")

# %%
print(worst["speaker"].decode(), "-", worst["text"].decode())
Audio(worst["waveform"], rate=SAMPLE_RATE)

# %% [markdown]
# ## Change one thing and see
# The same network, reading forwards only: what comes after a phone is not heard when it is named.

# %%
forward = replace(options, model=replace(options.model, direction="forward"))
other = train.train(forward, RUNS / "forward")
forward_result = evaluate.evaluate(other.path, "validation", with_baselines=False)
for name, metrics in (
    ("both directions", result.metrics),
    ("forwards only", forward_result.metrics),
):
    print(
        f"{name:16} {metrics['frame_accuracy_61']:.1%} of the frames right, "
        f"phone error rate {metrics['phone_error_rate']:.1%}"
    )

# %% [markdown]
# A network that reads forwards can tag speech while it comes in, and may be given a delay
# (`delay_frames`): the [app's page](../apps/phoneme_tagging/README.md) has both.

# %% [markdown]
# ## Export and call the SavedModel
# It takes waveforms, or by the signature `wav` the bytes of WAV files, and needs TensorFlow and
# nothing of this project. `export` checks it in a fresh process.

# %%
folder = export.export(run.path)
model = tf.saved_model.load(str(folder))
answer = model.signatures["wav"](tf.constant([sound_files.encode(example)]))
names, starts = answer["phone"][0].numpy().astype(str), answer["start_s"].numpy()
print(held_back[0]["text"].decode())
print(" ".join(f"{phone}@{starts[first]:.2f}" for phone, first in phones.runs(names)))

# %% [markdown]
# `python -m serving --model phones=DIR` serves this folder over REST
# ([serving](../docs/guides/serving.md)).
#
# ## Change this next
# - `config.SMALL` as it is: 2,000 sentences and ten epochs.
# - `cell="mlp", window_frames=10`: the perceptron as a network of the app; `cell="gru"`, `"elman"`.
# - Recordings of your own: [05_your_own_data](05_your_own_data.py).
