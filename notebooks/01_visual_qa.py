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
# # Visual question answering
#
# An image and a question, an answer, and where the model looked. A CNN reads the image, an LSTM the
# question, and the question looks at the image twice ([Yang et al.
# 2016](https://arxiv.org/abs/1511.02274)). The app is
# [apps/visual_qa](../apps/visual_qa/README.md); here it is trained on its default data with smaller
# images, a smaller network and fewer epochs.

# %%
import logging
import shutil
import sys
from collections import Counter
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

sys.path.insert(0, "..")
RUNS = Path("../runs/notebooks/visual_qa")
shutil.rmtree(RUNS, ignore_errors=True)

from common.runs import cli

cli.start_tensorflow_quietly()

import tensorflow as tf
from IPython.display import Image

from apps.visual_qa import asked, config, data, evaluate, export, predict, priors, train
from common.inputs import images
from common.plots import figures

# What trainings tell stands in log/train.log of their runs.
logging.basicConfig(handlers=[logging.NullHandler()])
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# The options of the whole tour: the preset `SMALL`, made smaller.

# %%
small = config.SMALL
options = replace(
    small,
    model=replace(small.model, image_size=48, question_units=64),
    train=replace(small.train, epochs=4, learning_rate=6e-3),
)

# %% [markdown]
# ## The data
# [easy-VQA](https://github.com/vzhou842/easy-VQA) (MIT): pictures of one coloured shape, with about
# ten questions each. It arrives as a Python package. A record is an image with all its questions.

# %%
records = list(data.load_split(options.data, "train"))
asked.draw_records(records[:8], title="Images with some questions", path=RUNS / "data.png")
Image(filename=RUNS / "data.png")

# %%
questions = [text.decode() for one in records for text in one["question"].numpy()]
answers = [text.decode() for one in records for text in one["answer"].numpy()]
kinds = Counter(kind.decode() for one in records for kind in one["question_type"].numpy())
lengths = [len(question.split()) for question in questions]
print(f"{len(records)} images, {len(questions)} questions, {len(set(questions))} different ones")
print(f"{min(lengths)} to {max(lengths)} words; kinds: {dict(kinds)}")
print("answers:", ", ".join(f"{name} {n}" for name, n in Counter(answers).most_common()))

# %% [markdown]
# ## Blind baselines first
# How far does one come without an image? Always the commonest answer, or to each question its
# commonest answer, both counted in training and tried on validation:

# %%
held_back = list(data.load_split(options.data, "validation"))
for name, share in priors.score(records, held_back).items():
    print(f"{name:36} {share:.1%} right")

# %% [markdown]
# Two thirds without looking: most yes/no questions name one colour or shape of many, so that "no"
# is a good guess. What a model adds to that is what it sees ([Goyal et al.
# 2017](https://arxiv.org/abs/1612.00837) on why this matters).

# %% [markdown]
# ## Train

# %%
run = train.train(options, RUNS / "attention")
figures.learning_curves(
    run.path / "history.csv",
    metrics=["loss", "accuracy"],
    title="Training",
    path=RUNS / "history.png",
)
Image(filename=RUNS / "history.png")

# %%
result = evaluate.evaluate(run.path, "validation")
print(result.as_table())

# %% [markdown]
# `question_only` is a network of its own, trained beside the model on the questions alone;
# `shuffled_images` asks the model itself with another question's image. The model must be above
# both.

# %% [markdown]
# ## Where does it look?
# Each hop spreads a weight of 1 over the 36 cells of the CNN's grid; each picture is scaled to its
# own maximum. A largest share far above 3 % is a sharp look, one near it is none.

# %%
predictor = predict.Predictor.load(run.path)
example = held_back[0]["image"].numpy()
for number, question in enumerate(["what color is the shape?", "is there not a circle?"]):
    answer = predictor.answer(example, question)
    figures.attention_over_image(
        images.decode(example).numpy(),
        answer.attention,
        answer.top,
        title=question,
        path=RUNS / f"attention_{number}.png",
    )
Image(filename=RUNS / "attention_0.png")

# %%
Image(filename=RUNS / "attention_1.png")

# %% [markdown]
# ## Its errors

# %%
rows = list(asked.ask(predictor.answerer, held_back))
wrong = [one for one in rows if one.given != one.right]
total = Counter(one.kind for one in rows)
for kind, number in Counter(one.kind for one in wrong).most_common():
    print(f"{kind:8} {number:4} of {total[kind]:5} wrong")
print("right -> given:")
for (right, given), number in Counter((one.right, one.given) for one in wrong).most_common(5):
    print(f"{number:4}  {right} -> {given}")

# %% [markdown]
# Which words stand in questions that go wrong more often than in others?

# %%
words_in = Counter(word for one in rows for word in set(one.question.strip("?").split()))
words_wrong = Counter(word for one in wrong for word in set(one.question.strip("?").split()))
shares = [(words_wrong[word] / n, word) for word, n in words_in.items() if n >= 50]
for share, word in sorted(shares, reverse=True)[:6]:
    print(f"{share:6.1%} of the questions with {word!r}")

# %%
asked.draw_asked(
    sorted(wrong, key=attrgetter("probability"), reverse=True)[:8],
    title="The errors of which the model is surest",
    path=RUNS / "errors.png",
)
Image(filename=RUNS / "errors.png")

# %% [markdown]
# ## Change one thing and see
# How many images does it need? The same network, trained on the first 500:

# %%
few = replace(options, data=replace(options.data, max_images=500))
other = train.train(few, RUNS / "few")
with_few = evaluate.evaluate(other.path, "validation")
for name, one in (("all images", result), ("500 images", with_few)):
    kinds = one.details["accuracy by type"]
    by_kind = "  ".join(f"{kind} {share:.1%}" for kind, share in kinds.items())
    print(f"{name:12} {one.metrics['accuracy']:.1%}  {by_kind}")
    print(f"{'':12} {one.baselines['question_only']['accuracy']:.1%}  without the image")

# %% [markdown]
# With few images it stays near what can be said blindly; a baseline beside it tells that.

# %% [markdown]
# ## Export and call the SavedModel
# It takes the bytes of image files and strings, and needs TensorFlow and nothing of this project.
# `export` checks it in a fresh process.

# %%
folder = export.export(run.path)
model = tf.saved_model.load(str(folder))
answers = model.signatures["serving_default"](
    image=tf.constant([example, example]),
    question=tf.constant(["what shape is in the image?", "is there a blue shape?"]),
)
for answer, probability in zip(answers["answer"], answers["probability"], strict=True):
    print(answer.numpy().decode(), f"{probability:.1%}")
print("attention", answers["attention"].shape, "(batch, hops, rows, columns)")
Image(data=example, width=200)

# %% [markdown]
# `python -m serving --model vqa=DIR` serves this folder over REST ([serving](../docs/serving.md)).
#
# ## Change this next
# - `config.SMALL` as it is: two minutes, 99.9 %.
# - `hops=1`, or `fusion="elementwise"`, which has no attention
#   ([Antol et al. 2015](https://arxiv.org/abs/1505.00468)).
# - Photographs and a data set of your own: [05_your_own_data](05_your_own_data.py).
