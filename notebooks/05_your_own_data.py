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
# # Your own data
#
# From raw files to a served model, three times: a folder of images with captions, a table of
# questions and passages, a folder of recordings. Every app takes such a folder as
# `--data.name folder --data.root DIR`, and `check_data` says what is in it before you train:
# ```
# python -m apps.image_captioning.check_data --data.name folder --data.root photos --plot sheet.png
# python -m apps.image_captioning.train --data.name folder --data.root photos --run-dir runs/own
# ```
# Here the same functions are called from Python. The files are written from the default data of the
# apps, as you might have them; put your own folders in their place.

# %%
import base64
import csv
import json
import logging
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, "..")
RUNS = Path("../runs/notebooks/own")
shutil.rmtree(RUNS, ignore_errors=True)
PHOTOS, TEXTS, RECORDINGS = (RUNS / name for name in ("photos", "texts", "recordings"))
for folder in (PHOTOS, TEXTS, RECORDINGS):
    folder.mkdir(parents=True)

from common.runs import cli

cli.start_tensorflow_quietly()

import tensorflow as tf
from IPython.display import Image

from apps.answer_selection import check_data as answer_check
from apps.answer_selection import config as answer_config
from apps.answer_selection import data as answer_data
from apps.answer_selection import evaluate as answer_evaluate
from apps.answer_selection import export as answer_export
from apps.answer_selection import train as answer_train
from apps.image_captioning import check_data as caption_check
from apps.image_captioning import config as caption_config
from apps.image_captioning import data as caption_data
from apps.image_captioning import evaluate as caption_evaluate
from apps.image_captioning import export as caption_export
from apps.image_captioning import train as caption_train
from apps.phoneme_tagging import check_data as phone_check
from apps.phoneme_tagging import config as phone_config
from apps.phoneme_tagging import data as phone_data
from apps.phoneme_tagging import evaluate as phone_evaluate
from apps.phoneme_tagging import export as phone_export
from apps.phoneme_tagging import train as phone_train
from apps.phoneme_tagging.corpora import alignment, phones
from common.inputs import sound_files

# The messages of a training are in log/train.log of its run.
logging.basicConfig(handlers=[logging.NullHandler()])
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# ## A folder of images with captions
# `captions.csv` stands beside the images, with the columns `image` and `caption`, one caption a
# row. A column `split` (train, val, test) is optional; without it a hash of the image's name holds
# back a tenth for validation and a tenth for test. Two rows are broken, as happens in real data.

# %%
emoji = caption_data.load_split(replace(caption_config.SMALL.data, max_images=3000), "train")
with (PHOTOS / "captions.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["image", "caption"])
    for number, record in enumerate(emoji.records.as_numpy_iterator()):
        caption = record["captions"][0].decode()
        if "skin tone" in caption:
            (PHOTOS / f"{number:04d}.png").write_bytes(record["image"])
            table.writerow([f"{number:04d}.png", caption])
    table.writerow(["lost.png", "a file that is not there"])
    file.write("0001.png,a comma, and no quotes\n")
print("".join((PHOTOS / "captions.csv").read_text().splitlines(keepends=True)[:3]))

# %%
photos = replace(caption_config.SMALL.data, name="folder", root=PHOTOS)
report = caption_check.check(photos, RUNS / "photos.png")
print(report.as_text())
Image(filename=RUNS / "photos.png")

# %% [markdown]
# Every broken row is named with its file and line. A training skips up to one row in a hundred;
# more stop it. Each line with "yes" or "NO" is a demand; its reason is in the app's
# `check_data.py`.

# %%
captions = replace(
    caption_config.SMALL,
    data=photos,
    train=replace(caption_config.SMALL.train, epochs=4, batch_size=8),
)
caption_run = caption_train.train(captions, RUNS / "captions")
print(caption_evaluate.evaluate(caption_run.path, "validation").as_table())
test_record = next(caption_data.load_split(photos, "test").records.as_numpy_iterator())

# %% [markdown]
# After a short training on few images the nearest training image is hard to beat.
# [04_image_captioning](04_image_captioning.py) has more of both.

# %% [markdown]
# ## A table of questions and passages
# `train.csv` with the columns `question`, `candidate` and `label`: 1 where the candidate answers
# the question. `validation.csv` and `test.csv` are optional.

# %%
first_questions = replace(answer_config.SMALL.data, max_questions=1000)
with (TEXTS / "train.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["question", "candidate", "label"])
    for record in answer_data.load_split(first_questions, "train").as_numpy_iterator():
        for candidate, label in zip(record["candidates"], record["labels"], strict=True):
            table.writerow([record["question"].decode(), candidate.decode(), label])
print("".join((TEXTS / "train.csv").read_text().splitlines(keepends=True)[:4]))

# %%
texts = replace(answer_config.SMALL.data, name="folder", root=TEXTS)
report = answer_check.check(texts, RUNS / "texts.png")
print(report.as_text())
Image(filename=RUNS / "texts.png")

# %%
answers = replace(
    answer_config.SMALL, data=texts, train=replace(answer_config.SMALL.train, epochs=2)
)
answer_run = answer_train.train(answers, RUNS / "answers")
print(answer_evaluate.evaluate(answer_run.path, "validation").as_table())
question_record = next(answer_data.load_split(texts, "validation").as_numpy_iterator())

# %% [markdown]
# ## A folder of recordings
# `SPEAKER/NAME.wav`, and beside it phones with their times, as a TextGrid, `.phn` or CTM file; or
# the words alone in `NAME.txt`, which are aligned by
# [pocketsphinx](https://github.com/cmusphinx/pocketsphinx). Here most have phones, and some words.

# %%
speech = phone_data.load_split(phone_config.SMALL.data, "train")
aligner = alignment.Aligner(None)
for number, record in enumerate(speech.take(300).as_numpy_iterator()):
    path = RECORDINGS / record["speaker"].decode() / f"{number:03d}.wav"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sound_files.encode(record["waveform"] / 32768.0))
    text = record["text"].decode()
    if number % 10 == 0 and not aligner.unknown(alignment.words_of(text)):
        path.with_suffix(".txt").write_text(text)
    else:
        times = zip(record["start"], record["end"], record["phone"].astype(str), strict=True)
        lines = [f"{start} {end} {phone}\n" for start, end, phone in times]
        path.with_suffix(".phn").write_text("".join(lines))
for suffix in ("wav", "phn", "txt"):
    print(suffix, len(list(RECORDINGS.rglob(f"*.{suffix}"))), "files")

# %%
recordings = replace(phone_config.SMALL.data, name="folder", root=RECORDINGS)
report = phone_check.check(recordings, RUNS / "recordings.png")
print(report.as_text())
Image(filename=RUNS / "recordings.png")

# %% [markdown]
# Whole speakers are held back where there are three or more. Where the words do not fit the sound
# there is no alignment: such recordings are named, and removed here.

# %%
for row in report.broken.skipped:
    transcript = Path(row.split(": ")[0])
    print("removed:", transcript.relative_to(RECORDINGS))
    transcript.unlink()
    transcript.with_suffix(".wav").unlink()
print(phone_check.check(recordings).verdict())

# %%
tagging = replace(
    phone_config.SMALL,
    data=recordings,
    train=replace(phone_config.SMALL.train, epochs=5, batch_size=8, learning_rate=6e-3),
)
phone_run = phone_train.train(tagging, RUNS / "phones")
print(phone_evaluate.evaluate(phone_run.path, "validation", with_baselines=False).as_table())
sentence = next(phone_data.load_split(recordings, "test").as_numpy_iterator())

# %% [markdown]
# The blind baseline is the share of the most common phone, in the report above. Baselines that are
# trained are in [03_phoneme_tagging](03_phoneme_tagging.py).

# %% [markdown]
# ## Export and serve
# A SavedModel takes raw bytes and strings. One server answers for all three; it needs TensorFlow
# and the exported folders, and no code of the apps ([serving](../docs/guides/serving.md)).

# %%
models = {
    "captions": caption_export.export(caption_run.path),
    "answers": answer_export.export(answer_run.path),
    "phones": phone_export.export(phone_run.path),
}
command = [sys.executable, "-m", "serving", "--port", "0"]
for name, folder in models.items():
    command += ["--model", f"{name}={folder.resolve()}"]
log = RUNS / "serving.log"
with log.open("w") as file:
    server = subprocess.Popen(command, cwd="..", stderr=file)
while "page at" not in log.read_text() and server.poll() is None:
    time.sleep(0.2)
address = log.read_text().split("listening at ")[1].split(",")[0]
ready = False
while not ready and server.poll() is None:
    try:
        ready = urllib.request.urlopen(f"{address}/readyz").status == 200
    except urllib.error.HTTPError:  # 503 while models are loaded
        time.sleep(0.2)
print("ready:", ready, "- models:", ", ".join(models))

# %% [markdown]
# An image by its bytes:

# %%
body = {"instances": [{"image": {"b64": base64.b64encode(test_record["image"]).decode()}}]}
request = urllib.request.Request(f"{address}/v1/models/captions:predict", json.dumps(body).encode())
(prediction,) = json.loads(urllib.request.urlopen(request).read())["predictions"]
print(prediction["caption"][0], "  (right:", test_record["captions"][0].decode() + ")")
Image(data=test_record["image"], width=150)

# %% [markdown]
# A question with its candidates, the right one starred:

# %%
candidates = [text.decode() for text in question_record["candidates"]]
body = {
    "signature_name": "rank",
    "inputs": {"question": question_record["question"].decode(), "candidates": candidates},
}
request = urllib.request.Request(f"{address}/v1/models/answers:predict", json.dumps(body).encode())
ranking = json.loads(urllib.request.urlopen(request).read())["outputs"]
print(question_record["question"].decode())
for place in ranking["order"]:
    right = "*" if question_record["labels"][place] else " "
    print(f"{right} {ranking['scores'][place]:6.2f}  {candidates[place]}")

# %% [markdown]
# A recording by the bytes of its WAV file:

# %%
wav = sound_files.encode(sentence["waveform"] / 32768.0)
body = {
    "signature_name": "wav",
    "inputs": {"wav": [{"b64": base64.b64encode(wav).decode()}]},
}
request = urllib.request.Request(f"{address}/v1/models/phones:predict", json.dumps(body).encode())
tagged = json.loads(urllib.request.urlopen(request).read())["outputs"]
print("heard: ", *(phone for phone, _ in phones.runs(tagged["phone"][0])))
print("spoken:", *sentence["phone"].astype(str))

# %% [markdown]
# SIGTERM stops the server, after it has answered the requests it has accepted.

# %%
server.terminate()
print("exit code", server.wait())
