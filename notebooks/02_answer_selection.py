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
# # Answer selection
#
# A question and candidate sentences: which one answers? A BiLSTM reads question and candidate,
# each attends to the other, and both are compared word by word ([Wang & Jiang
# 2017](https://arxiv.org/abs/1611.01747)). The app is
# [apps/answer_selection](../apps/answer_selection/README.md); here it is trained on a part of its
# default data, with a smaller network.

# %%
import csv
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, "..")
RUNS = Path("../runs/notebooks/answer_selection")
shutil.rmtree(RUNS, ignore_errors=True)

from common.runs import cli

cli.start_tensorflow_quietly()

import numpy as np
import tensorflow as tf
from IPython.display import Image

from apps.answer_selection import config, data, evaluate, export, predict, train
from apps.answer_selection.ranking import baselines, metrics
from common.plots import figures

# The log of a training is log/train.log of its run.
logging.basicConfig(handlers=[logging.NullHandler()])
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# The options of the whole tour:

# %%
small = config.SMALL
options = replace(
    small,
    model=replace(small.model, units=32, compare_units=32),
    data=replace(small.data, max_questions=2000),
    train=replace(small.train, epochs=3, learning_rate=4e-3),
)

# %% [markdown]
# ## The data
# The docstrings of installed packages: "what is PARAMETER in FUNCTION" is answered by one of the
# descriptions of the parameters of that function. Validation asks about other modules than
# training.

# %%
records = list(data.load_split(options.data, "train").as_numpy_iterator())
validation = list(data.load_split(options.data, "validation").as_numpy_iterator())
for record in validation[:2]:
    print(record["question"].decode())
    for text, label in zip(record["candidates"], record["labels"], strict=True):
        print("  right" if label else "       ", text.decode()[:90])

# %%
sizes = np.array([len(record["candidates"]) for record in records])
lengths = np.array([len(text.split()) for record in records for text in record["candidates"]])
print(f"{len(records)} training and {len(validation)} validation questions")
print("candidates of a question, 5 %, 50 %, 95 %:", *np.quantile(sizes, [0.05, 0.5, 0.95]))
print("words of a candidate,     5 %, 50 %, 95 %:", *np.quantile(lengths, [0.05, 0.5, 0.95]))

# %% [markdown]
# ## Blind baselines first
# Scorers without a network: chance, shared words, shared rare words, and BM25 ([Robertson &
# Zaragoza 2009](https://doi.org/10.1561/1500000019)). MAP, MRR and P@1 are those of trec_eval; each
# question here has one right candidate, so that MAP is MRR.

# %%
texts = (text.decode() for record in records for text in record["candidates"])
for name, ranked in baselines.rank(baselines.fit(texts, seed=1), validation).items():
    summary = metrics.summarize(metrics.score_questions(ranked), "clean")
    print(f"{name:14}", "  ".join(f"{key} {value:.3f}" for key, value in summary.items()))

# %% [markdown]
# BM25 is no weak rival: the LSTM of [Wang & Nyberg 2015](https://aclanthology.org/P15-2116) alone
# lost to it on TREC-QA.

# %% [markdown]
# ## Train

# %%
run = train.train(options, RUNS / "compare")
figures.learning_curves(
    run.path / "history.csv", metrics=["loss", "map"], title="Training", path=RUNS / "history.png"
)
Image(filename=RUNS / "history.png")

# %%
result = evaluate.evaluate(run.path, "validation")
print(result.as_table())

# %% [markdown]
# "MAP above bm25" is the difference on the same questions with the 95 % interval of a paired
# bootstrap: the model is better when the interval lies above zero.
#
# `evaluate` also writes the ranks of every question. How often is the right sentence among the
# first few?

# %%
SCORERS = ("model", "bm25", "random")
with (run.path / "questions-validation.csv").open() as file:
    rows = list(csv.DictReader(file))
ranks = {row["question_id"]: {name: int(row[name]) for name in SCORERS} for row in rows}

# %%
figures.curves(
    {
        name: [np.mean([row[name] <= most for row in ranks.values()]) for most in range(1, 9)]
        for name in SCORERS
    },
    x_label="candidates that are looked at, best first",
    y_label="share of the questions answered",
    title="Where the right sentence stands",
    path=RUNS / "ranks.png",
    first=1,
)
Image(filename=RUNS / "ranks.png")

# %% [markdown]
# ## Which words count?
# The candidates, best first, with the probability that the network gives each, and in colour the
# words with more than the mean share of the attention.

# %%
predictor = predict.Predictor.load(run.path)
record = validation[0]
question = record["question"].decode()
sentences = predictor.rank(question, [text.decode() for text in record["candidates"]])
predictor.draw(question, sentences[:4], RUNS / "words.png")
Image(filename=RUNS / "words.png")

# %% [markdown]
# ## Its errors
# Where the right sentence shares no word with the question, BM25 gives it no point.

# %%
shared = {"a word is shared": [], "no word is shared": []}
for record in validation:
    right = record["candidates"][record["labels"].argmax()].decode()
    overlap = baselines.word_overlap(record["question"].decode(), [right])[0]
    kind = "a word is shared" if overlap else "no word is shared"
    shared[kind].append(ranks[record["question_id"].decode()])
for kind, rows in shared.items():
    right = {name: np.mean([row[name] == 1 for row in rows]) for name in ("model", "bm25")}
    print(kind, len(rows), {name: f"{share:.0%}" for name, share in right.items()})

# %% [markdown]
# Some questions that BM25 answers and the model does not:

# %%
lost = [name for name, row in ranks.items() if row["bm25"] == 1 < row["model"]][:3]
for record in [row for row in validation if row["question_id"].decode() in lost]:
    question, texts = record["question"].decode(), [t.decode() for t in record["candidates"]]
    sentences = predictor.rank(question, texts)
    print(question)
    print("  model:", sentences[0].text[:100])
    print("  right:", texts[record["labels"].argmax()][:100])

# %%
predictor.draw(f"wrong: {question}", sentences[:4], RUNS / "wrong.png")
Image(filename=RUNS / "wrong.png")

# %% [markdown]
# ## Change one thing and see
# The same network without the features of words that match and how rare they are:

# %%
plain = replace(options, model=replace(options.model, match_features=False))
other = train.train(plain, RUNS / "plain")
without = evaluate.evaluate(other.path, "validation")
for name, scores in (("with match features", result), ("without", without)):
    print(f"{name:20} MAP {scores.metrics['map']:.3f}  BM25 {scores.baselines['bm25']['map']:.3f}")

# %% [markdown]
# ## Export and call the SavedModel
# Strings in, scores out, for TensorFlow without this project. The signature `rank` takes one
# question with its candidates.

# %%
folder = export.export(run.path)
model = tf.saved_model.load(str(folder))
candidates = ["Tolerance for stopping criteria.", "Number of jobs to run.", "Seed of the draw."]
answer = model.signatures["rank"](
    question=tf.constant("what is tol in fit"), candidates=tf.constant(candidates)
)
probabilities = tf.sigmoid(answer["scores"]).numpy()
for place in answer["order"].numpy():
    print(f"{probabilities[place]:6.1%}  {candidates[place]}")

# %% [markdown]
# `python -m serving --model qa=DIR` serves this folder over REST
# ([serving](../docs/guides/serving.md)). A score is the log-odds that a sentence answers; its
# sigmoid is the probability.
#
# ## Change this next
# - `candidates_per_question` in `options.train`: more wrong sentences to learn from.
# - `matching="stacked", layers=3` in `options.model`: the LSTM of Wang & Nyberg, which reads both
#   texts as one.
# - A table of questions and passages of your own: [05_your_own_data](05_your_own_data.py).
