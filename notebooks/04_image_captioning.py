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
# An image, and a sentence about it, word by word: for each word an LSTM attends to the regions of a
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

from apps.image_captioning import config, data, evaluate, export, predict, train
from apps.image_captioning.corpora import ptb
from common.inputs import images
from common.plots import figures

# Trainings write to log/train.log of their runs.
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
captions = [record["captions"][0].decode() for record in records]
examples = [*records[:4], *held_back[:4]]
figures.images_with_texts(
    [images.decode(example["image"]).numpy() for example in examples],
    [example["captions"][0].decode() for example in examples],
    title="Above from training, below from validation",
    path=RUNS / "data.png",
)
Image(filename=RUNS / "data.png")

# %%
words = [ptb.tokenize(caption) for caption in captions]
lengths = [len(caption) for caption in words]
vocabulary = Counter(word for caption in words for word in caption)
print(f"{len(captions)} images, {len(set(captions))} different captions")
print(f"{min(lengths)} to {max(lengths)} words, {len(vocabulary)} different ones")
print("the commonest:", ", ".join(f"{word} {n}" for word, n in vocabulary.most_common(8)))
references = [record["captions"][0].decode() for record in held_back]
copied = sum(caption in set(captions) for caption in references) / len(references)
print(f"{copied:.0%} of the {len(references)} captions of validation are also in training")

# %% [markdown]
# ## Blind baselines first
# None of them looks at regions: the commonest caption of training, the caption of the nearest image
# (by the CNN's mean feature), the caption that the twelve nearest agree on most ([Devlin et al.
# 2015](https://arxiv.org/abs/1505.04467)), and the model itself with another image. Nearest
# neighbours are hard to beat where captions repeat; here they know every word, but not the
# combination. `evaluate` prints their scores beside the model's, below; here is the first:

# %%
((commonest, count),) = Counter(captions).most_common(1)
right = sum(caption == commonest for caption in references) / len(references)
print(f"always {commonest!r}, {count} times in training: {right:.1%} right")

# %% [markdown]
# ## Train
# The CNN is frozen, its features are computed once; the decoder learns. The best epoch is chosen by
# the CIDEr of greedy captions on validation ([Vedantam et al.
# 2015](https://arxiv.org/abs/1411.5726)).

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
photos = [record["image"] for record in held_back]
outputs = predictor.caption(photos)
predict.draw_captions(photos[:4], outputs[:4], RUNS / "attention.png")
Image(filename=RUNS / "attention.png")

# %% [markdown]
# ## The other captions of the beam
# Beam search keeps five sentences; each with its log-probability.

# %%
print("right:", references[0])
for caption, score in outputs[0].captions:
    print(f"{score:7.2f}  {caption}")

# %% [markdown]
# ## Its errors
# A wrong caption may name another subject, another skin tone, or both.

# %%
tones = ("light", "medium-light", "medium", "medium-dark", "dark")
kinds, wrong = Counter(), []
for photo, output, reference in zip(photos, outputs, references, strict=True):
    caption, score = output.captions[0]
    written, right = caption.split(), ptb.tokenize(reference)
    same_tone = [w for w in written if w in tones] == [w for w in right if w in tones]
    same_rest = [w for w in written if w not in tones] == [w for w in right if w not in tones]
    kinds[
        ("right" if same_rest else "another subject")
        if same_tone
        else ("another skin tone" if same_rest else "both wrong")
    ] += 1
    if written != right:
        wrong.append((score, photo, caption, reference))
for kind, number in kinds.most_common():
    print(f"{kind:18} {number:4}  {number / len(outputs):.0%}")

# %%
surest = sorted(wrong, key=itemgetter(0), reverse=True)[:8]
figures.images_with_texts(
    [images.decode(photo).numpy() for _, photo, _, _ in surest],
    [f"{caption}\n(right: {reference})" for _, _, caption, reference in surest],
    title="The errors with the highest scores",
    path=RUNS / "errors.png",
)
Image(filename=RUNS / "errors.png")

# %% [markdown]
# ## Change one thing and see
# Reranking: among twenty captions of the beam, the one that agrees best with the captions of near
# images and with samples of the network. Nothing is trained for it.

# %%
reranked = evaluate.evaluate(run.path, "validation", rerank=True)
for name, scores in (("beam search", result), ("reranked", reranked)):
    print(
        f"{name:12} exact match {scores.metrics['exact_match']:.1%}, "
        f"BLEU-4 {scores.metrics['bleu_4']:.3f}, CIDEr {scores.metrics['cider']:.2f}"
    )

# %% [markdown]
# No neighbour has a combination that was held out, so agreement with them pulls a caption to one
# that training has. Where captions repeat, as on aerial photographs, it helps.

# %% [markdown]
# ## Export and call the SavedModel
# It takes the bytes of image files, has beam search in its graph, and needs TensorFlow and nothing
# of this project. `export` checks it in a fresh process.

# %%
folder = export.export(run.path)
model = tf.saved_model.load(str(folder))
answer = model.signatures["serving_default"](image=tf.constant(photos[:3]))
for caption, score, right in zip(answer["caption"], answer["score"], references, strict=False):
    print(f"{score[0].numpy():6.2f}  {caption[0].numpy().decode()}   (right: {right})")
print("attention", answer["attention"].shape, "(batch, time, rows, columns)")

# %% [markdown]
# `python -m serving --model captions=DIR` serves this folder over REST
# ([serving](../docs/guides/serving.md)).
#
# ## Change this next
# - `config.SMALL` as it is: thirty epochs.
# - `decoder="show_and_tell"`: without attention ([Vinyals et al.
#   2015](https://arxiv.org/abs/1411.4555)).
# - `colour_bins=None`: what does the CNN alone know of skin tones?
# - Photographs and captions of your own: [05_your_own_data](05_your_own_data.py).
