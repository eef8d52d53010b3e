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
# A question and candidate sentences: which one answers? Two BiLSTMs read question and candidate,
# each attends to the other, and what they found is compared word by word ([Wang & Jiang
# 2017](https://arxiv.org/abs/1611.01747)). The app is
# [apps/answer_selection](../apps/answer_selection/README.md); here it is trained on a third of its
# default data, with a smaller network.

# %%
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

from apps.answer_selection import (
    baselines,
    config,
    data,
    errors,
    evaluate,
    export,
    predict,
    ranking,
    train,
)
from apps.answer_selection import plots as answer_plots
from common.plots import figures

# What trainings tell stands in log/train.log of their runs.
logging.basicConfig(handlers=[logging.NullHandler()])
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# The options of the whole tour:

# %%
small = config.SMALL
options = replace(
    small,
    model=replace(small.model, units=32, compare_units=32),
    data=replace(small.data, max_questions=3000),
    train=replace(small.train, epochs=3, learning_rate=4e-3),
)

# %% [markdown]
# ## The data
# The docstrings of installed packages: "what is PARAMETER in FUNCTION" is answered by one of the
# descriptions of the parameters of that function. Validation asks about other modules than
# training.

# %%
records = list(data.load_split(options.data, "train").as_numpy_iterator())
held_back = list(data.load_split(options.data, "validation").as_numpy_iterator())
for record in held_back[:2]:
    print(record["question"].decode())
    for text, label in zip(record["candidates"], record["labels"], strict=True):
        print("  right" if label else "       ", text.decode()[:90])

# %%
sizes = np.array([len(one["candidates"]) for one in records])
lengths = np.array([len(text.split()) for one in records for text in one["candidates"]])
print(f"{len(records)} training and {len(held_back)} validation questions")
print("candidates of a question, 5 %, 50 %, 95 %:", *np.quantile(sizes, [0.05, 0.5, 0.95]))
print("words of a candidate,     5 %, 50 %, 95 %:", *np.quantile(lengths, [0.05, 0.5, 0.95]))

# %% [markdown]
# ## Blind baselines first
# What can be had without a network: chance, shared words, shared rare words, and BM25 ([Robertson &
# Zaragoza 2009](https://doi.org/10.1561/1500000019)). MAP, MRR and P@1 are those of trec_eval; each
# question here has one right candidate, so that MAP is MRR.

# %%
scorers = baselines.fit((text.decode() for one in records for text in one["candidates"]), seed=1)
for name, ranked in baselines.rank(scorers, held_back).items():
    metrics = ranking.summarize(ranking.score_questions(ranked), "clean").metrics
    print(f"{name:14}", "  ".join(f"{metric} {value:.3f}" for metric, value in metrics.items()))

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
ranks = errors.read_ranks(run.path, "validation")
figures.curves(
    {
        name: [np.mean([one[name] <= most for one in ranks.values()]) for most in range(1, 9)]
        for name in ("model", "bm25", "random")
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
# Above, the share of each word of the candidate in its score; below, which words of the candidate
# each word of the question looks at, in each row.

# %%
predictor = predict.Predictor.load(run.path)
record = held_back[0]
question = record["question"].decode()
found = predictor.rank(question, [text.decode() for text in record["candidates"]])
for sentence in found.sentences[:4]:
    print(f"{sentence.score:7.2f}  {sentence.text[:90]}")
best = found.sentences[0].text
answer_plots.attention_over_words(
    *predictor.explain(question, best), title=question, path=RUNS / "words.png"
)
Image(filename=RUNS / "words.png")

# %% [markdown]
# ## Its errors
# Where the right sentence shares no word with the question, BM25 gives it no point.

# %%
for kind, names in errors.by_kind(held_back).items():
    shares = [
        f"{scorer} {np.mean([ranks[name][scorer] == 1 for name in names]):4.0%}"
        for scorer in ("model", "bm25", "random")
    ]
    print(f"{kind:22} {len(names):4} questions, right: {'  '.join(shares)}")

# %% [markdown]
# Some questions that BM25 answers and the model does not:

# %%
lost = [name for name, one in ranks.items() if one["bm25"] == 1 < one["model"]]
for one in [one for one in held_back if one["question_id"].decode() in lost[:3]]:
    question, texts = one["question"].decode(), [text.decode() for text in one["candidates"]]
    print(question)
    print("  model:", predictor.rank(question, texts).sentences[0].text[:100])
    print("  right:", texts[one["labels"].argmax()][:100])

# %%
answer_plots.attention_over_words(
    *predictor.explain(question, predictor.rank(question, texts).sentences[0].text),
    title=f"wrong: {question}",
    path=RUNS / "wrong.png",
)
Image(filename=RUNS / "wrong.png")

# %% [markdown]
# ## Change one thing and see
# The same network, not told which words match and how rare they are:

# %%
untold = replace(options, model=replace(options.model, match_features=False))
other = train.train(untold, RUNS / "untold")
without = evaluate.evaluate(other.path, "validation")
for name, one in (("told which words match", result), ("not told", without)):
    print(f"{name:24} MAP {one.metrics['map']:.3f}   BM25 {one.baselines['bm25']['map']:.3f}")

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
for place in answer["order"].numpy():
    print(f"{answer['scores'][place]:7.2f}  {candidates[place]}")

# %% [markdown]
# `python -m serving --model qa=DIR` serves this folder over REST ([serving](../docs/serving.md)). A
# score orders the candidates of one question; it is no probability.
#
# ## Change this next
# - `loss="listwise"` or `"pairwise"` in `options.train`: what is the network asked to get right?
# - `matching="stacked", layers=3` in `options.model`: the LSTM of Wang & Nyberg, which reads both
#   texts as one.
# - A table of questions and passages of your own: [05_your_own_data](05_your_own_data.py).
