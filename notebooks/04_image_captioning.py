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
# # Image captioning
#
# An image, and a sentence about it, word by word: at each word an LSTM looks at the regions of a
# CNN's grid ([Xu et al. 2015](https://arxiv.org/abs/1502.03044)), and beam search keeps the best
# sentences. The app is [apps/image_captioning](../apps/image_captioning/README.md); here it is
# trained on its default data.

# %%
import logging
import shutil
import sys
from collections import Counter
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

sys.path.insert(0, "..")
RUNS = Path("../runs/notebooks/captions")
shutil.rmtree(RUNS, ignore_errors=True)

from common.runs import cli

cli.start_tensorflow_quietly()

import tensorflow as tf
from IPython.display import Image

from apps.image_captioning import config, data, evaluate, export, predict, ptb, train
from apps.image_captioning import plots as caption_plots
from common.inputs import images
from common.plots import figures

# What trainings tell stands in log/train.log of their runs.
logging.basicConfig(handlers=[logging.NullHandler()])
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# The options of the whole tour: the preset `SMALL` with eight epochs, in smaller batches.

# %%
small = config.SMALL
options = replace(small, train=replace(small.train, epochs=8, batch_size=16))

# %% [markdown]
# ## The data
# Emoji, drawn by [Twemoji](https://github.com/jdecked/twemoji) and
# [OpenMoji](https://openmoji.org), with their Unicode names. Validation and test have combinations
# of a subject and a skin tone that training has not: a caption must be put together, it cannot be
# looked up.

# %%
records = list(data.load_split(options.data, "train").records.as_numpy_iterator())
held_back = list(data.load_split(options.data, "validation").records.as_numpy_iterator())
captions = [one["captions"][0].decode() for one in records]
figures.images_with_texts(
    [images.decode(one["image"]).numpy() for one in [*records[:4], *held_back[:4]]],
    [one["captions"][0].decode() for one in [*records[:4], *held_back[:4]]],
    title="Above from training, below from validation",
    path=RUNS / "data.png",
)
Image(filename=RUNS / "data.png")

# %%
words = [ptb.tokenize(caption) for caption in captions]
lengths = [len(one) for one in words]
vocabulary = Counter(word for one in words for word in one)
print(f"{len(captions)} images, {len(set(captions))} different captions")
print(f"{min(lengths)} to {max(lengths)} words, {len(vocabulary)} different ones")
print("the commonest:", ", ".join(f"{word} {n}" for word, n in vocabulary.most_common(8)))
wanted = [one["captions"][0].decode() for one in held_back]
known = sum(caption in set(captions) for caption in wanted) / len(wanted)
print(f"{known:.0%} of the {len(wanted)} captions of validation stand in training")

# %% [markdown]
# ## Blind baselines first
# None of them looks at regions: the commonest caption of training, the caption of the nearest image
# (by the CNN's mean feature), the caption that the twelve nearest agree on most ([Devlin et al.
# 2015](https://arxiv.org/abs/1505.04467)), and the model itself with another image. Nearest
# neighbours are hard to beat where captions repeat; here they know every word, but not the
# combination. `evaluate` has their scores, beside the model's, below; the first one we know now:

# %%
(commonest, times), *_ = Counter(captions).most_common(1)
right = sum(caption == commonest for caption in wanted) / len(wanted)
print(f"always {commonest!r}, {times} times in training: {right:.1%} right")

# %% [markdown]
# ## Train
# The CNN is frozen, its features are kept; the decoder learns. The epoch that is kept has the best
# CIDEr ([Vedantam et al. 2015](https://arxiv.org/abs/1411.5726)) of captions that it wrote freely.

# %%
run = train.train(options, RUNS / "attention")
figures.learning_curves(
    run.path / "history.csv",
    metrics=["loss", "cider", "exact_match"],
    title="Training",
    path=RUNS / "history.png",
)
Image(filename=RUNS / "history.png")

# %%
result = evaluate.evaluate(run.path, "validation")
print(result.as_table())

# %% [markdown]
# ## Where does it look?
# The weights over the grid at each word, scaled to their own maximum, whose share is named: spread
# evenly, every cell of 4 x 4 would have 6 %.

# %%
predictor = predict.Predictor.load(run.path)
told = predictor.caption([one["image"] for one in held_back])
caption_plots.words_over_images(
    [
        (images.decode(one["image"]).numpy(), said.tokens, said.attention, said.captions[0][0])
        for one, said in zip(held_back[:4], told, strict=False)
    ],
    path=RUNS / "attention.png",
)
Image(filename=RUNS / "attention.png")

# %% [markdown]
# ## What else would it say?
# Beam search keeps five sentences; each with its log-probability.

# %%
print("right:", wanted[0])
for caption, score in told[0].captions:
    print(f"{score:7.2f}  {caption}")

# %% [markdown]
# ## Its errors
# A wrong caption may name another subject, another skin tone, or both.

# %%
tones = ("light", "medium-light", "medium", "medium-dark", "dark")
kinds, wrong = Counter(), []
for one, said, caption in zip(held_back, told, wanted, strict=True):
    given, asked = said.captions[0][0].split(), ptb.tokenize(caption)
    same_tone = [w for w in given if w in tones] == [w for w in asked if w in tones]
    same_rest = [w for w in given if w not in tones] == [w for w in asked if w not in tones]
    kinds[
        ("right" if same_rest else "another subject")
        if same_tone
        else ("another skin tone" if same_rest else "both wrong")
    ] += 1
    if given != asked:
        wrong.append((said.captions[0][1], one, said.captions[0][0], caption))
for kind, number in kinds.most_common():
    print(f"{kind:18} {number:4}  {number / len(told):.0%}")

# %%
surest = sorted(wrong, key=itemgetter(0), reverse=True)[:8]
figures.images_with_texts(
    [images.decode(one["image"]).numpy() for _, one, _, _ in surest],
    [f"{given}\n(right: {caption})" for _, _, given, caption in surest],
    title="The errors of which it is surest",
    path=RUNS / "errors.png",
)
Image(filename=RUNS / "errors.png")

# %% [markdown]
# ## Change one thing and see
# Neighbours and beam together: of twenty sentences and those of the nearest training image, the one
# is taken that agrees best with the captions of near images and with what the model draws. Nothing
# is trained for it.

# %%
reranked = evaluate.evaluate(run.path, "validation", rerank=True)
for name, one in (("best by the model", result), ("agrees with neighbours", reranked)):
    print(
        f"{name:24} exact match {one.metrics['exact_match']:.1%}, "
        f"BLEU-4 {one.metrics['bleu_4']:.3f}, CIDEr {one.metrics['cider']:.2f}"
    )

# %% [markdown]
# No neighbour has a combination that was held out, so agreement with them pulls a caption to one
# that training has. Where captions of training may repeat, as on photographs, it can help.

# %% [markdown]
# ## Export and call the SavedModel
# It takes the bytes of image files, has beam search in its graph, and needs TensorFlow and nothing
# of this project. `export` checks it in a fresh process.

# %%
folder = export.export(run.path)
model = tf.saved_model.load(str(folder))
answer = model.signatures["serving_default"](
    image=tf.constant([one["image"] for one in held_back[:3]])
)
for caption, score, right in zip(answer["caption"], answer["score"], wanted, strict=False):
    print(f"{score[0].numpy():6.2f}  {caption[0].numpy().decode()}   (right: {right})")
print("attention", answer["attention"].shape, "(batch, time, rows, columns)")

# %% [markdown]
# `python -m serving --model captions=DIR` serves this folder over REST
# ([serving](../docs/serving.md)).
#
# ## Change this next
# - `config.SMALL` as it is: thirty epochs.
# - `decoder="show_and_tell"`: without attention ([Vinyals et al.
#   2015](https://arxiv.org/abs/1411.4555)).
# - `colour_bins=None`: what does the CNN alone know of skin tones?
# - `self_critical_epochs=2`: further epochs that raise CIDEr itself ([Rennie et al.
#   2017](https://arxiv.org/abs/1612.00563)).
# - Photographs and captions of your own: [05_your_own_data](05_your_own_data.py).
