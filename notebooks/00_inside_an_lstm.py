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
#
# Gates on a sentence and on speech, vanishing and exploding gradients, a memory over 1,000 steps,
# and a character model that spells. Everything here is a call of `common/` or `benchmarks/`.
#
# An LSTM ([Hochreiter & Schmidhuber 1997](https://doi.org/10.1162/neco.1997.9.8.1735), with the
# forget gate of [Gers et al. 2000](https://doi.org/10.1162/089976600300015015)) keeps a cell state
# `c_t` and gives a hidden state `h_t`:
#
# ```
# i, f, o = sigmoid(W x_t + U h_{t-1} + b)        input, forget and output gate, from 0 to 1
# g       = tanh(W_g x_t + U_g h_{t-1} + b_g)     candidate
# c_t     = f * c_{t-1} + i * g                   cell state
# h_t     = o * tanh(c_t)                         hidden state, the output
# ```
#
# The input gate controls what is written to the cell, the forget gate what stays in it, the output
# gate what leaves it.

# %%
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, "..")
RUNS = Path("../runs/notebooks/inside")
shutil.rmtree(RUNS, ignore_errors=True)

from common.runs import cli

cli.start_tensorflow_quietly()

import tensorflow as tf
from IPython.display import Image

from apps.phoneme_tagging import config as phone_config
from apps.phoneme_tagging import data as phone_data
from apps.phoneme_tagging import train as phone_train
from apps.visual_qa import config as vqa_config
from apps.visual_qa import train as vqa_train
from benchmarks import gradient_flow, letters, long_lag
from common.inputs import audio, text
from common.layers import inspection
from common.plots import figures, gates

# The log of each training is in log/train.log of its run.
logging.basicConfig(handlers=[logging.NullHandler()])
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# ## Gates on a sentence
# A small model for questions about images reads each question with an LSTM of 32 units. We train it
# for a few seconds, then look at that LSTM alone.

# %%
small = vqa_config.SMALL
vqa_run = vqa_train.train(
    replace(
        small,
        model=replace(small.model, image_size=32, cnn_channels=(16, 32), question_units=32),
        data=replace(small.data, max_images=500),
        train=replace(small.train, epochs=3, learning_rate=1e-2),
    ),
    RUNS / "visual_qa",
)
answerer = vqa_run.load_model()
embed = answerer.get_layer("embedding")
question_lstm = answerer.get_layer("questions").layer.get_layer("lstm_0")
table = text.Vocabulary.load(vqa_run.path / "vocab_words.txt").make_table(unknown=text.UNK)

# %%
questions = ["is there a red shape in the image?", "is there a blue shape in the image?"]
token_ids, mask = text.encode(tf.constant(questions), table, max_words=30)
traced = inspection.trace(question_lstm, embed(token_ids), mask)
words = [word.decode() for word in text.WORDS(tf.constant(questions))[0].numpy()]
gates.gates_over_words(
    {name: values[0] for name, values in traced.items()},
    words,
    title=questions[0],
    path=RUNS / "sentence.png",
)
Image(filename=RUNS / "sentence.png")

# %% [markdown]
# A column is a word, a row is a unit; the units are those whose cell state changes most. A bright
# forget gate keeps the cell state, a bright input gate adds the candidate.
#
# The two questions differ in one word. How far apart are their cell states, word by word?

# %%
distances = tf.norm(traced["cell"][0] - traced["cell"][1], axis=-1).numpy()
for word, distance in zip(words, distances, strict=True):
    print(f"{word:8} {distance:6.3f} {'#' * int(100 * distance)}")

# %% [markdown]
# There is no difference before the colour. From there the cell carries it to the end of the
# question, where the model needs it.

# %% [markdown]
# ## Gates on speech
# A phoneme tagger reads 10 ms a step. We train a small one on synthetic speech, forwards only, and
# look at its LSTM on a sentence of the validation part.

# %%
small = phone_config.SMALL
phones = replace(
    small,
    model=replace(small.model, units=32, direction="forward", normalization="training"),
    data=replace(small.data, max_utterances=200),
    augment=phone_config.AugmentConfig(),
    train=replace(small.train, epochs=6, learning_rate=1e-2),
)
phone_run = phone_train.train(phones, RUNS / "phoneme_tagging")
tagger = phone_run.load_model()

# %%
record = next(phone_data.load_split(phones.data, "validation").as_numpy_iterator())
waveform = record["waveform"][:32_000].astype("float32") / 2**15  # two seconds
features, _ = audio.features(
    tf.constant([waveform]), tf.constant([len(waveform)]), kind="log_mel", num_mels=40
)
normalized = tagger.get_layer("normalize")(features)
speech = inspection.trace(tagger.get_layer("frame_lstm").get_layer("lstm_0"), normalized)
segments = [
    (phone.decode(), start / audio.SAMPLE_RATE, end / audio.SAMPLE_RATE)
    for phone, start, end in zip(*(record[name] for name in ("phone", "start", "end")), strict=True)
    if end <= len(waveform)
]
gates.gates_over_sound(
    {name: values[0] for name, values in speech.items()},
    waveform,
    segments,
    title=record["text"].decode(),
    path=RUNS / "speech.png",
)
Image(filename=RUNS / "speech.png")

# %% [markdown]
# Vertical lines are the boundaries of the phones; the network gets only the sound. Gates open and
# close with the phones: cell states grow during a phone, and go back to zero where forget gates
# close.

# %% [markdown]
# ## Vanishing and exploding gradients
# Back-propagation through time multiplies one Jacobian for each step ([Bengio et al.
# 1994](https://doi.org/10.1109/72.279181)). How strongly does a state affect the output 100 steps
# later, in networks with random weights? The recurrent weights are orthogonal, then twice as large.

# %%
remainders = gradient_flow.draw(RUNS / "flow.png", gains=(1, 2), lag=100)
for name, share in remainders.items():
    print(f"{name:24} {share:9.1e} of the gradient after 100 steps")
Image(filename=RUNS / "flow.png")

# %% [markdown]
# The simple recurrent network (Elman) fails both ways: with orthogonal weights the slope of tanh
# makes the gradient vanish, with larger weights it explodes. In the gated cells it vanishes at
# first, too: 100 half-open gates in a row let almost nothing through. But a forget gate can stay
# open: with biases for long lags ([Tallec & Ollivier 2018](https://arxiv.org/abs/1804.11188), "slow
# gates") the gradient stays. `inspection.gradient_norms` measures it in a layer of your own.

# %% [markdown]
# ## Clipping
# Exploding gradients are scaled down to a norm ([Pascanu et al.
# 2013](https://arxiv.org/abs/1211.5063)). Here an Elman network with a gain of 1.5 learns by plain
# gradient descent to repeat a sign that came 50 steps before.

# %%
clipped = gradient_flow.train_latch("elman", gain=1.5, clip_norm=1.0)
free = gradient_flow.train_latch("elman", gain=1.5, clip_norm=None)
print(f"clipped: loss {clipped.losses[-20:].mean():.3f} after {len(clipped.losses)} steps")
print(f"free:    loss {free.losses[-1]:.3g} after {len(free.losses)} steps")
figures.curves(
    {"clipped to 1": clipped.norms, "not clipped": free.norms},
    x_label="training step",
    y_label="norm of the gradient before clipping",
    title="A gradient that explodes, with and without clipping",
    path=RUNS / "clipping.png",
    log=True,
)
Image(filename=RUNS / "clipping.png")

# %% [markdown]
# All apps clip (`--train.clip-norm`) and write the share of clipped steps into `history.csv`.

# %% [markdown]
# ## A memory over 1,000 steps
# The latch: 1,001 random signs; the target at the end is the first one. The LSTM has slow gates as
# above. The simple network gets fewer steps, because each takes it many times as long here.

# %%
rows = [
    long_lag.train("latch", cell, lag=1000, seed=1, steps=steps, batch=16, learning_rate=1e-2)
    for cell, steps in (("lstm", 600), ("elman", 100))
]
for row in rows:
    print(f"{row['cell']}: {row['error']:.0%} wrong after {row['steps']} steps (chance 50 %)")
figures.curves(
    {row["cell"]: row["errors"] for row in rows},
    x_label="training step",
    y_label="share of wrong answers",
    title="Which sign came 1,000 steps ago?",
    path=RUNS / "latch.png",
    first=50,
    every=50,
)
Image(filename=RUNS / "latch.png")

# %% [markdown]
# `python -m benchmarks.long_lag` gives both 1,500 steps, and the adding problem.

# %% [markdown]
# ## A character model spells "hello"
# After [Karpathy's min-char-rnn](https://karpathy.github.io/2015/05/21/rnn-effectiveness/): it
# reads h, e, l, l and learns to predict e, l, l, o. A frame marks the right letter.

# %%
speller = letters.Speller("hello", units=8)
moments = {"before training": speller.spell("hell")}
for steps, moment in ((30, "after 30 steps"), (120, "after 150 steps")):
    speller.train("hello", chunk=4, steps=steps, carry=False)
    moments[moment] = speller.spell("hell")
letters.draw_spelling(
    moments, "hello", speller.letters, title="hello, letter by letter", path=RUNS / "hello.png"
)
Image(filename=RUNS / "hello.png")

# %% [markdown]
# An "l" follows the first "l", an "o" the second. The input is the same, so only the state can tell
# them apart. A model without memory would give both the same column.

# %% [markdown]
# ## Truncated back-propagation through time
# A text is one long sequence. It is cut into chunks: the states are carried from one to the next,
# the gradient stops between them ([Williams & Peng
# 1990](https://doi.org/10.1162/neco.1990.2.4.490)). The gain from carried states is largest with
# very short chunks, here two letters of the project's licence:

# %%
licence = Path("../LICENSE").read_text()
course = {}
for name, carry in (("states carried", True), ("states begin anew", False)):
    model = letters.Speller(licence, units=128)
    bits = model.train(licence, chunk=2, steps=1500, streams=16, carry=carry)
    course[name] = bits.reshape(-1, 100).mean(axis=1)
    print(f"{name}: {course[name][-5:].mean():.2f} bits a letter")
figures.curves(
    course,
    x_label="training step",
    y_label="bits a letter",
    title="Chunks of two letters",
    path=RUNS / "carried.png",
    first=50,
    every=100,
)
Image(filename=RUNS / "carried.png")

# %% [markdown]
# With longer chunks it writes:

# %%
model = letters.Speller(licence, units=128)
model.train(licence, chunk=50, steps=700, streams=16)
print(model.write("The ", 300, temperature=0.7))

# %% [markdown]
# The price of truncation: a letter further back than a chunk gets no gradient. In this text every
# block ends with the letter it begins with.

# %%
blocks = letters.remembered(12, blocks=3200)
print(blocks[:52])
for chunk in (26, 5):
    model = letters.Speller(blocks, units=16)
    model.train(blocks, chunk=chunk, steps=16_000 // chunk, streams=32, learning_rate=2e-2)
    right = letters.share_remembered(model, 12)
    print(f"chunks of {chunk:2} letters: {right:.0%} of the last letters right")

# %% [markdown]
# ## Change this next
# - `gain`, `cell` and `lag` of `gradient_flow.over_lag`: which cell keeps a gradient over 1,000
#   steps?
# - `cell="gru"` or `"lstm_1997"` in `letters.Speller` and in `long_lag.train`.
# - `inspection.trace` takes a layer of any run of yours, also Keras' own LSTM, GRU and SimpleRNN.
