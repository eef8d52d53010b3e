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
# [apps/visual_qa](../apps/visual_qa/README.md); here it is trained on a half of its default data,
# with smaller images, a smaller network and fewer epochs.

# %%
import logging
import shutil
import sys
from collections import Counter, defaultdict
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

from apps.visual_qa import check_data, config, data, evaluate, export, predict, train
from common.inputs import images
from common.plots import figures

# The lines of a training are in log/train.log of its run.
logging.basicConfig(handlers=[logging.NullHandler()])
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# The options of the whole tour: the preset `SMALL`, made smaller.

# %%
small = config.SMALL
options = replace(
    small,
    model=replace(small.model, image_size=48, question_units=64),
    data=replace(small.data, max_images=2000),
    train=replace(small.train, epochs=4, learning_rate=6e-3),
)

# %% [markdown]
# ## The data
# [easy-VQA](https://github.com/vzhou842/easy-VQA) (MIT): pictures of one coloured shape, with about
# ten questions each. It arrives as a Python package. A record is an image with all its questions.

# %%
print(check_data.check(options.data, RUNS / "data.png").as_text())
Image(filename=RUNS / "data.png")

# %%
records = list(data.load_split(options.data, "train").as_numpy_iterator())
held_back = list(data.load_split(options.data, "validation").as_numpy_iterator())
for question, answer in zip(records[0]["question"][:4], records[0]["answer"], strict=False):
    print(question.decode(), answer.decode())
kinds = Counter(kind.decode() for record in records for kind in record["question_type"])
print("kinds of questions:", dict(kinds))

# %% [markdown]
# ## Blind baselines first
# How far does one come without an image? Always the commonest answer, or to each question its
# commonest answer, both counted in training and tried on validation:

# %%
by_question = defaultdict(Counter)
for record in records:
    for question, answer in zip(record["question"], record["answer"], strict=True):
        by_question[question][answer] += 1
[(commonest, _)] = sum(by_question.values(), Counter()).most_common(1)
best = {question: counts.most_common(1)[0][0] for question, counts in by_question.items()}
pairs = [
    pair for record in held_back for pair in zip(record["question"], record["answer"], strict=True)
]
right = sum(answer == commonest for _, answer in pairs)
print(f"most common answer                  {right / len(pairs):.1%} right")
right = sum(answer == best.get(question, commonest) for question, answer in pairs)
print(f"most common answer to the question  {right / len(pairs):.1%} right")

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
example = held_back[0]["image"]
for number, question in enumerate(["what color is the shape?", "is there not a circle?"]):
    answer = predictor.answer(example, question)
    predict.draw(example, question, answer, RUNS / f"attention_{number}.png")
Image(filename=RUNS / "attention_0.png")

# %%
Image(filename=RUNS / "attention_1.png")

# %% [markdown]
# ## Its errors

# %%
rows = list(evaluate.answer_questions(run, options, "validation"))
wrong = [row for row in rows if row.choices["model"] != row.answers[0]]
total = Counter(row.question_type for row in rows)
for kind, number in Counter(row.question_type for row in wrong).most_common():
    print(f"{kind:8} {number:4} of {total[kind]:5} wrong")
print("right -> the model's:")
confusions = Counter((row.answers[0], row.choices["model"]) for row in wrong)
for (right, choice), number in confusions.most_common(5):
    print(f"{number:4}  {right} -> {choice}")

# %% [markdown]
# Which words stand in questions that go wrong more often than in others?

# %%
in_all = Counter(word for row in rows for word in set(row.question.strip("?").split()))
in_wrong = Counter(word for row in wrong for word in set(row.question.strip("?").split()))
shares = [(in_wrong[word] / number, word) for word, number in in_all.items() if number >= 50]
for share, word in sorted(shares, reverse=True)[:6]:
    print(f"{share:6.1%} of the questions with {word!r}")

# %%
surest = sorted(wrong, key=attrgetter("probability"), reverse=True)[:8]
by_id = {record["image_id"].decode(): record["image"] for record in held_back}
figures.images_with_texts(
    [images.decode(by_id[row.image_id]).numpy() for row in surest],
    [
        f"{row.question}\nmodel: {row.choices['model']} ({row.probability:.0%})"
        f"\nright: {row.answers[0]}"
        for row in surest
    ],
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
for name, evaluation in (("2,000 images", result), ("500 images", with_few)):
    kinds = evaluation.details["accuracy by type"]
    by_kind = "  ".join(f"{kind} {share:.1%}" for kind, share in kinds.items())
    print(f"{name:12} {evaluation.metrics['accuracy']:.1%}  {by_kind}")
    print(f"{'':12} {evaluation.baselines['question_only']['accuracy']:.1%}  without the image")

# %% [markdown]
# With few images it stays near what can be said without looking; the baseline beside it shows that.

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
# `python -m serving --model vqa=DIR` serves this folder over REST
# ([serving](../docs/guides/serving.md)).
#
# ## Change this next
# - `config.SMALL` as it is: two minutes, 99.9 %.
# - `hops=1`: one look in place of two.
# - Photographs: `config.PHOTOS`, where the image corrects a network that reads the question alone.
# - A data set of your own: [05_your_own_data](05_your_own_data.py).
