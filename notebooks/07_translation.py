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
# # Translation
#
# One LSTM reads a text, another writes it in another language piece by piece and looks back at what
# was read ([Luong et al. 2015](https://arxiv.org/abs/1508.04025)). The app is
# [apps/translation](../apps/translation/README.md); here it is trained on its default data.

# %%
import logging
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, "..")
RUNS = Path("../runs/notebooks/translation")
shutil.rmtree(RUNS, ignore_errors=True)

from common.runs import cli

cli.start_tensorflow_quietly()

import tensorflow as tf
from IPython.display import Image

from apps.translation import config, data, evaluate, export, predict, train
from apps.translation.translating import baselines, validation
from common.plots import figures
from common.scoring import translations

# Trainings write to log/train.log of their runs.
logging.basicConfig(handlers=[logging.NullHandler()])
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# The options of the whole tour: the preset `SMALL` with two of its languages.

# %%
small = config.SMALL
options = replace(
    small,
    data=replace(small.data, target_languages=("de", "fr")),
)

# %% [markdown]
# ## The data
# Names of emoji. A subject and a skin tone that stand together in validation or test are not
# together in training: a translation must be put together, it cannot be looked up.

# %%
training = validation.read(data.load_split(options.data, "train").as_numpy_iterator())
held_back = validation.read(data.load_split(options.data, "validation").as_numpy_iterator())
for source, target, language in list(zip(*held_back, strict=True))[:6]:
    print(f"{source}  ->  {language}: {target}")

# %%
words = Counter(word for source in training.sources for word in source.split())
print(f"{len(training.sources)} pairs, {len(words)} words of English")
print("the commonest:", ", ".join(f"{word} {n}" for word, n in words.most_common(8)))
lengths = [len(source.split()) for source in training.sources]
print(f"1 to {max(lengths)} words, {sum(lengths) / len(lengths):.1f} on average")

# %% [markdown]
# ## Rivals first
# The source as it is, the translation of the nearest training source, and IBM model 1 word for word
# ([Brown et al. 1993](https://aclanthology.org/J93-2003)). BLEU and chrF are those of
# [sacrebleu](https://aclanthology.org/W18-6319), as fractions.

# %%
rivals = baselines.translate(training, held_back)
for name, written in rivals.items():
    scores = translations.score(written, held_back.targets, held_back.languages)
    print(f"{name:20}", "  ".join(f"{metric} {value:.3f}" for metric, value in scores.items()))
    print(f"{'':20} {held_back.sources[0]}  ->  {written[0]}")

# %% [markdown]
# ## Train
# Pieces of words are learned from the training texts. The best epoch is chosen by the BLEU of
# greedy translations of validation texts.

# %%
run = train.train(options, RUNS / "attention")
figures.learning_curves(
    run.path / "history.csv",
    metrics=["loss", "bleu", "exact_match"],
    title="Training",
    path=RUNS / "history.png",
)
Image(filename=RUNS / "history.png")

# %%
result = evaluate.evaluate(run.path, "validation")
print(result.as_table())

# %% [markdown]
# ## Where does it look?
# A row for each written piece, a column for each that was read; a space begins a word.

# %%
predictor = predict.Predictor.load(run.path)
german = [n for n, language in enumerate(held_back.languages) if language == "de"]
texts = held_back.at(german)
outputs = predictor.translate(texts.sources, "de")
predict.draw(outputs[:3], RUNS / "attention.png")
Image(filename=RUNS / "attention.png")

# %% [markdown]
# ## The other translations of the beam

# %%
print("right:", texts.targets[0])
for translation, score in outputs[0].translations:
    print(f"{score:7.2f}  {translation}")

# %% [markdown]
# ## Its errors
# Which words are missing, and which stand in their place?

# %%
missing, wrong = Counter(), []
for output, source, right in zip(outputs, texts.sources, texts.targets, strict=True):
    translation, score = output.translations[0]
    if translation != right:
        lost = Counter(right.split()) - Counter(translation.split())
        missing.update(lost)
        kind = "another order" if not lost else "other words"
        wrong.append((score, kind, source, translation, right))
print(Counter(kind for _, kind, *_ in wrong), "of", len(texts.sources))
print("missing most often:", ", ".join(f"{word} {n}" for word, n in missing.most_common(8)))
for score, _, source, translation, right in sorted(wrong, reverse=True)[:4]:
    print(f"{score:6.2f}  {source}: {translation}   (right: {right})")

# %% [markdown]
# ## Change one thing and see
# Without attention all that the decoder knows of the text is one vector; then it helps to read the
# source from its end ([Sutskever et al. 2014](https://arxiv.org/abs/1409.3215)).

# %%
for name, changed in (
    ("no attention", replace(options.model, attention="none")),
    ("no attention, reversed", replace(options.model, attention="none", reverse_source=True)),
):
    other = train.train(replace(options, model=changed), RUNS / name.replace(", ", "-"))
    scores = evaluate.evaluate(other.path, "validation").metrics
    print(f"{name:24} BLEU {scores['bleu']:.3f}, exact match {scores['exact_match']:.1%}")
print(f"{'attention':24} BLEU {result.metrics['bleu']:.3f}, "
      f"exact match {result.metrics['exact_match']:.1%}")  # fmt: skip

# %% [markdown]
# ## Export and call the SavedModel
# It takes strings, has the pieces and beam search in its graph, and needs TensorFlow and nothing of
# this project. A tag asks for a language.

# %%
folder = export.export(run.path)
model = tf.saved_model.load(str(folder))
asked = tf.constant([">>fr<< woman firefighter dark skin tone", ">>de<< black cat"])
answer = model.signatures["serving_default"](text=asked)
for best, score in zip(answer["translation"], answer["score"], strict=True):
    print(f"{score[0].numpy():6.2f}  {best[0].numpy().decode()}")
print("attention", answer["attention"].shape, "(batch, target, source)")

# %% [markdown]
# `python -m serving --model translation=DIR` serves this folder over REST
# ([serving](../docs/guides/serving.md)).
#
# ## Change this next
# - `target_languages=("ja", "zh")`: languages without spaces.
# - `num_pieces=1000` or `4000`: shorter or longer pieces.
# - Texts of your own: `name="folder"`, with `pairs.csv` or aligned text files.
