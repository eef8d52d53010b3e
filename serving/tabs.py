"""A tab of the page for each task: what a person gives, what the model says, how it came to it."""

import io
import re
import wave
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np
import scipy.signal

from serving import pictures
from serving.client import Client
from serving.errors import RequestError

RATE = 16000
MOST_SENTENCES = 100


class Tab(NamedTuple):
    """A model on the page.

    Attributes:
        name: under which it is served.
        examples: inputs by name, each a text or the path of a file.
    """

    name: str
    examples: Sequence[dict[str, str]]

    def columns(self, *names: str) -> list[list[str]]:
        """The examples that have all of these inputs, as rows."""
        return [[one[name] for name in names] for one in self.examples if set(names) <= set(one)]


def in_words(answer: Callable) -> Callable:
    """What `answer` cannot do is shown in words."""

    def answered(*given):
        try:
            return answer(*given)
        except RequestError as error:
            raise gr.Error(str(error), title="It did not work", print_exception=False) from None

    return answered


def captioning(tab: Tab, client: Client) -> None:
    """Image -> captions, and where the model looked at each word."""

    def caption(path: str | None):
        image = _bytes(path, "an image")
        found = client.predict(tab.name, {"image": [image]})
        (captions,), (scores,) = found["caption"], found["score"]
        table = [
            [one, round(score, 3)]
            for one, score in zip(captions, scores, strict=True)
            if np.isfinite(score)
        ]
        words = [*[word for word in found["tokens"][0] if word], "(end)"]
        strip = [
            (pictures.looked_at(image, looked), word)
            for word, looked in zip(words, found["attention"][0], strict=False)
        ]
        return f"## {captions[0]}", strip, table

    with gr.Row():
        with gr.Column(min_width=280):
            image = _image()
            ask = gr.Button("Write captions", variant="primary")
            _examples(tab, [image], "image")
        with gr.Column(min_width=280, scale=2):
            best = gr.Markdown(elem_classes="answer")
            gr.Markdown("Where it looked at each word")
            strip = _gallery("Where it looked at each word")
            table = gr.Dataframe(headers=["caption", "score"], label="All captions")
    _run(ask.click, caption, [image], [best, strip, table])


def question_answering(tab: Tab, client: Client) -> None:
    """Image and question -> answers, and where the model looked in each hop."""

    def answer(path: str | None, question: str):
        image = _bytes(path, "an image")
        if not question.strip():
            raise RequestError("expected a question, the field is empty: write one")
        found = client.predict(tab.name, {"image": [image], "question": [question]})
        (answers,), (chances,) = found["top_answers"], found["top_probabilities"]
        shares = dict(zip(answers, chances, strict=True))
        looks = [
            (pictures.looked_at(image, looked), f"look {hop}")
            for hop, looked in enumerate(found["attention"][0], start=1)
        ]
        return {name: share for name, share in shares.items() if name}, looks

    with gr.Row():
        with gr.Column(min_width=280):
            image = _image()
            question = gr.Textbox(label="Question", placeholder="what is in the image?")
            ask = gr.Button("Answer", variant="primary")
            _examples(tab, [image, question], "image", "question")
        with gr.Column(min_width=280, scale=2):
            label = gr.Label(label="Answers", elem_classes="answer")
            gr.Markdown("Where it looked")
            looks = _gallery("Where it looked")
    for begin in (ask.click, question.submit):
        _run(begin, answer, [image, question], [label, looks])


def answer_selection(tab: Tab, client: Client) -> None:
    """Question and text -> its sentences, best first, with the words that counted."""

    def rank(question: str, text: str) -> str:
        sentences = split_sentences(text)
        if not question.strip() or not sentences:
            raise RequestError("expected a question and a text with a sentence: fill in both")
        if len(sentences) > MOST_SENTENCES:
            gr.Info(f"Reads the first {MOST_SENTENCES} of {len(sentences)} sentences.")
            sentences = sentences[:MOST_SENTENCES]
        asked = [question] * len(sentences)
        found = client.predict(tab.name, {"question": asked, "candidate": sentences})
        scored = list(zip(sentences, found["score"], found["attention"], strict=True))
        return pictures.ranked(sorted(scored, key=lambda row: -row[1]))

    with gr.Row():
        with gr.Column(min_width=280):
            question = gr.Textbox(label="Question")
            text = gr.Textbox(label="Text", lines=8, max_lines=20)
            ask = gr.Button("Rank the sentences", variant="primary")
            _examples(tab, [question, text], "question", "passages")
        with gr.Column(min_width=280, scale=2):
            shown = gr.HTML(label="Sentences, best first", elem_classes="answer")
    for begin in (ask.click, question.submit):
        _run(begin, rank, [question, text], [shown])


def phoneme_tagging(tab: Tab, client: Client) -> None:
    """Speech -> phones over the spectrogram."""

    def tag(recorded: tuple[int, np.ndarray] | None):
        if recorded is None:
            raise RequestError("expected speech, there is none: record or upload some")
        rate, samples = recorded
        sound = resampled(samples, rate)
        found = client.predict(tab.name, {"wav": [as_wav(sound)]}, signature="wav")
        phones = pictures.merged(found["phone"][0], len(sound) / RATE)
        figure = pictures.phones_over_spectrogram(sound, RATE, phones)
        spoken = " ".join(one.phone for one in phones)
        table = [[one.phone, f"{one.start_s:.2f}", f"{one.end_s:.2f}"] for one in phones]
        return f"## {spoken}", figure, table

    with gr.Row():
        with gr.Column(min_width=280):
            sound = gr.Audio(sources=["upload", "microphone"], type="numpy", label="Speech")
            ask = gr.Button("Find the phones", variant="primary")
            _examples(tab, [sound], "wav")
        with gr.Column(min_width=280, scale=2):
            spoken = gr.Markdown(elem_classes="answer")
            gr.Markdown("Phones over the spectrogram")
            figure = gr.Plot(label="Phones over the spectrogram", show_label=False)
            table = gr.Dataframe(headers=["phone", "from (s)", "to (s)"], label="Phones")
    _run(ask.click, tag, [sound], [spoken, figure, table])


def split_sentences(text: str) -> list[str]:
    """Sentences, paragraphs and items of lists with a word in them, each once."""
    parts = re.split(r"(?<=[.!?])\s+|\n\s*\n|\n\s*(?=[-*\u2022]\s)", text.strip())
    parts = (re.sub(r"^[-*\u2022]\s+", "", " ".join(one.split())) for one in parts)
    found = (one for one in parts if re.search(r"[^\W_]", one))
    return list(dict.fromkeys(found))


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples (time,) or (time, channels), integers or floats -> float (time,) at 16 kHz."""
    sound = samples.astype(np.float64)
    if np.issubdtype(samples.dtype, np.integer):
        sound /= -float(np.iinfo(samples.dtype).min)
    if sound.ndim > 1:
        sound = sound.mean(axis=1)
    ratio = Fraction(RATE, rate)
    return scipy.signal.resample_poly(sound, ratio.numerator, ratio.denominator)


def as_wav(sound: np.ndarray) -> bytes:
    """Float (time,) at 16 kHz -> a WAV file of 16-bit samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE, 0, "NONE", ""))
        writer.writeframes((sound * 32767).round().clip(-32768, 32767).astype("<i2").tobytes())
    return file.getvalue()


def _image() -> gr.Image:
    return gr.Image(type="filepath", sources=["upload", "clipboard"], label="Image", height=280)


def _gallery(label: str) -> gr.Gallery:
    # Gradio would lay the label over the pictures. How many stand in a row says page.STYLE.
    return gr.Gallery(label=label, show_label=False, height="auto", elem_classes="strip")


def _bytes(path: str | None, what: str) -> bytes:
    if path is None:
        raise RequestError(f"expected {what}, there is none: upload or pick one")
    return Path(path).read_bytes()


def _examples(tab: Tab, inputs: list, *names: str) -> None:
    rows = tab.columns(*names)
    if rows:
        gr.Examples(rows, inputs, label="Examples")


def _run(begin: Callable, answer: Callable, inputs: list, outputs: list) -> None:
    begin(in_words(answer), inputs, outputs, api_name=False)
