"""Tabs of the page: what a person gives, what the model answers.

`generic` makes a tab for any model from its signatures and card. SPECIAL has the tasks for which a
tab of their own shows more.
"""

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from serving import pictures, sounds
from serving.client import Client
from serving.errors import RequestError
from serving.limits import SAMPLE_RATE
from serving.signatures import DEFAULT, Field, Signature

MAX_SENTENCES = 100
MAX_PICTURES = 50
MAP = ("rows", "columns")  # dimensions of numbers that lie over an image


class Tab(NamedTuple):
    """A model on the page.

    Attributes:
        name: under which it is served.
        signatures: by name.
        examples: inputs by name, each a text or the path of a file.
    """

    name: str
    signatures: dict[str, Signature]
    examples: Sequence[dict[str, str]]

    def columns(self, *names: str) -> list[list[str]]:
        """The examples that have all of these inputs, as rows."""
        rows = [row for row in self.examples if set(names) <= set(row)]
        return [[row[name] for name in names] for row in rows]


def generic(tab: Tab, client: Client) -> None:
    """A form for each signature: its inputs, and its outputs as strings, tables and pictures."""
    for name in tab.signatures:
        with gr.Tab(name) if len(tab.signatures) > 1 else contextlib.nullcontext():
            form = Form(tab, name, client)
            with gr.Row():
                with gr.Column(min_width=280):
                    inputs = [_input(key, field) for key, field in form.fields.items()]
                    button = gr.Button("Ask the model", variant="primary")
                    _examples(tab, inputs, *form.fields)
                with gr.Column(min_width=280, scale=2):
                    outputs = [panel.make() for panel in form.panels]
            texts = [component for component in inputs if isinstance(component, gr.Textbox)]
            for begin in (button.click, *(text.submit for text in texts)):
                _run(begin, form.ask, inputs, outputs)


class Form:
    """The inputs and outputs of a signature, for one row.

    Attributes:
        fields: inputs that a person gives; the lengths of others are computed.
        panels: what is shown, in this order.
    """

    def __init__(self, tab: Tab, name: str, client: Client):
        self.tab, self.name, self.client = tab, name, client
        self.signature = tab.signatures[name]
        lengths = {length for length, _ in self.signature.lengths.values()}
        self.fields = {
            key: field for key, field in self.signature.inputs.items() if key not in lengths
        }
        self.panels = _panels(self.signature)

    def ask(self, *values) -> list:
        """Values of the components of `fields` -> those of `panels`.

        Raises:
            RequestError: something is missing, or the model refuses.
        """
        row = zip(self.fields.items(), values, strict=True)
        inputs = {key: _read(key, field, value) for (key, field), value in row}
        images = [
            inputs[key][0] if field.batched else inputs[key]
            for key, field in self.fields.items()
            if field.media_type.startswith("image/")
        ]
        for key, (length, axis) in self.signature.lengths.items():
            inputs[length] = [np.shape(inputs[key])[axis]]
        fields = self.signature.outputs
        outputs = self.client.predict(self.tab.name, inputs, self.name)
        if len(fields) == 1:
            outputs = {next(iter(fields)): outputs}
        outputs = {
            key: value[0] if fields[key].batched else value for key, value in outputs.items()
        }
        return [panel.show(outputs, images) for panel in self.panels]


def _input(name: str, field: Field) -> Any:
    """The component in which a person gives one row of an input."""
    if field.media_type.startswith("image/"):
        return gr.Image(type="filepath", sources=["upload", "clipboard"], label=name, height=280)
    if field.media_type.startswith("audio/") or field.sample_rate:
        return gr.Audio(sources=["upload", "microphone"], type="numpy", label=name)
    info = field.description
    if field.dtype != object:
        info = f"{info} ({field.dtype.name}, JSON)".strip()
    elif _rank(field) == 1:
        info = f"{info} (one a line)".strip()
    return gr.Textbox(label=name, info=info, lines=3 if _rank(field) else 1)


def _rank(field: Field) -> int:
    """Of one row."""
    return len(field.shape or ()) - field.batched


def _read(name: str, field: Field, value: Any) -> Any:
    """What a person gave, as the input of a request.

    Raises:
        RequestError: there is nothing, or it is no number.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        raise RequestError(f"{name}: expected a value, there is none: fill it in")
    if isinstance(value, tuple):
        sound_rate, samples = value
        rate = field.sample_rate or SAMPLE_RATE
        sound = sounds.resampled(samples, sound_rate, rate)
        row = sounds.encode(sound, rate) if field.dtype == object else sound.tolist()
    elif field.media_type.startswith("image/"):
        row = Path(value).read_bytes()
    elif field.dtype == object:
        row = [line for line in value.splitlines() if line.strip()] if _rank(field) else value
    else:
        try:
            row = json.loads(value)
        except ValueError:
            raise RequestError(f"{name}: expected JSON, as 1.5 or [1, 2], got {value!r}") from None
    return [row] if field.batched else row


class Panel(NamedTuple):
    """A component for some outputs, and what it shows of them.

    Attributes:
        make: the component.
        show: (outputs of one row by name, encoded images among the inputs) -> its value.
    """

    make: Callable[[], Any]
    show: Callable[[dict[str, Any], list[bytes]], Any]


def _panels(signature: Signature) -> list[Panel]:
    """Single values first, then lists by their dimension as tables, then pictures."""
    single: list[str] = []
    tables: dict[object, list[str]] = {}
    others = []
    for name, field in signature.outputs.items():
        if field.shape is None or (_rank(field) > 1 and field.dtype == object):
            others.append(_json(name))
        elif _rank(field) == 0:
            single.append(name)
        elif _rank(field) == 1:
            tables.setdefault(field.dims[-1] if field.dims else name, []).append(name)
        else:
            others.append(_gallery(name, signature))
    panels = [_values(single)] if single else []
    return [*panels, *(_table(names) for names in tables.values()), *others]


def _values(names: list[str]) -> Panel:
    def show(outputs: dict, images: list) -> str:
        return pictures.listed({name: _rounded(outputs[name]) for name in names})

    return Panel(lambda: gr.HTML(elem_classes="answer"), show)


def _table(names: list[str]) -> Panel:
    def show(outputs: dict, images: list) -> list[list]:
        columns = (outputs[name] for name in names)
        rows = [[_rounded(value) for value in row] for row in zip(*columns, strict=False)]
        if any(isinstance(value, str) for row in rows for value in row):
            # Rows without any text are padding.
            rows = [row for row in rows if any(isinstance(value, str) and value for value in row)]
        return rows

    return Panel(lambda: gr.Dataframe(headers=names, label=", ".join(names)), show)


def _json(name: str) -> Panel:
    return Panel(lambda: gr.JSON(label=name), lambda outputs, images: outputs[name])


def _gallery(name: str, signature: Signature) -> Panel:
    """Heat maps of an output, over the image where it is one of (rows, columns)."""
    field = signature.outputs[name]
    dims = field.dims[field.batched :] or ("",) * _rank(field)
    words = {
        other.dims[-1]: key
        for key, other in signature.outputs.items()
        if other.dtype == object and _rank(other) == 1 and other.dims
    }

    def show(outputs: dict, images: list[bytes]) -> list[tuple]:
        values = np.array(outputs[name], np.float64)
        labels = [outputs[words[dim]] if dim in words else () for dim in dims]
        named = [dim if isinstance(dim, str) and dim else name for dim in dims]
        gallery = []
        for place in np.ndindex(values.shape[:-2]):
            if not values[place].any():  # padding
                continue
            if dims[-2:] == MAP and len(images) == 1:
                picture = pictures.over_image(images[0], values[place])
            else:
                rows, columns = (
                    texts if len(texts) == size else ()
                    for texts, size in zip(labels[-2:], values.shape[-2:], strict=True)
                )
                picture = pictures.heat_map(values[place], rows, columns)
            caption = [
                (texts[n] if n < len(texts) else "") or f"{dim} {n + 1}"
                for n, texts, dim in zip(place, labels, named, strict=False)
            ]
            gallery.append((picture, ", ".join(caption) or name))
        return gallery[:MAX_PICTURES]

    return Panel(lambda: _strip(name), show)


def _strip(label: str) -> gr.Gallery:
    # Gradio would lay the label over the pictures. How many stand in a row says page.STYLE.
    gr.Markdown(label)
    return gr.Gallery(label=label, show_label=False, height="auto", elem_classes="strip")


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def answer_selection(tab: Tab, client: Client) -> None:
    """Question and text -> its sentences, best first, with the words that counted."""
    with gr.Row():
        with gr.Column(min_width=280):
            question = gr.Textbox(label="Question")
            text = gr.Textbox(label="Text", lines=8, max_lines=20)
            button = gr.Button("Rank the sentences", variant="primary")
            _examples(tab, [question, text], "question", "passages")
        with gr.Column(min_width=280, scale=2):
            gr.Markdown("Sentences, best first; the words that counted more are marked")
            ranking = gr.HTML(label="Sentences, best first", elem_classes="answer")
    for begin in (button.click, question.submit):
        _run(begin, partial(rank, tab, client), [question, text], [ranking])


def rank(tab: Tab, client: Client, question: str, text: str) -> str:
    """The sentences of `text`, as they are given, in the order of the model."""
    sentences = split_sentences(text)
    if not question.strip() or not sentences:
        raise RequestError("expected a question and a text with a sentence: fill in both")
    if len(sentences) > MAX_SENTENCES:
        gr.Info(f"Reads the first {MAX_SENTENCES} of {len(sentences)} sentences.")
        sentences = sentences[:MAX_SENTENCES]
    inputs = {"question": question, "candidates": sentences}
    order = client.predict(tab.name, inputs, "rank")["order"]
    pairs = {"question": [question] * len(sentences), "candidate": sentences}
    attention = client.predict(tab.name, pairs)["attention"]
    return pictures.ranked([(sentences[n], attention[n]) for n in order])


def phoneme_tagging(tab: Tab, client: Client) -> None:
    """Speech -> phones over the spectrogram."""
    with gr.Row():
        with gr.Column(min_width=280):
            sound = gr.Audio(sources=["upload", "microphone"], type="numpy", label="Speech")
            button = gr.Button("Find the phones", variant="primary")
            _examples(tab, [sound], "wav")
        with gr.Column(min_width=280, scale=2):
            spoken = gr.Markdown(elem_classes="answer")
            gr.Markdown("Phones over the spectrogram")
            figure = gr.Plot(label="Phones over the spectrogram", show_label=False)
            table = gr.Dataframe(headers=["phone", "from (s)", "to (s)"], label="Phones")
    _run(button.click, partial(tag, tab, client), [sound], [spoken, figure, table])


def tag(tab: Tab, client: Client, recorded: tuple[int, np.ndarray] | None) -> tuple:
    """The phones of a sound as Markdown, over the spectrogram, and in a table."""
    rate = tab.signatures["wav"].inputs["wav"].sample_rate or SAMPLE_RATE
    if recorded is None:
        raise RequestError("expected speech, there is none: record or upload some")
    sound = sounds.resampled(recorded[1], recorded[0], rate)
    outputs = client.predict(tab.name, {"wav": [sounds.encode(sound, rate)]}, "wav")
    phones = pictures.merged(outputs["phone"][0], outputs["start_s"], len(sound) / rate)
    figure = pictures.phones_over_spectrogram(sound, rate, phones)
    spoken = " ".join(phone.phone for phone in phones)
    table = [[phone, f"{start_s:.2f}", f"{end_s:.2f}"] for phone, start_s, end_s in phones]
    return f"## {spoken}", figure, table


# A tab by task, and the signatures that it asks.
SPECIAL: dict[str, tuple[Callable[[Tab, Client], None], set[str]]] = {
    "answer sentence selection": (answer_selection, {DEFAULT, "rank"}),
    "phoneme tagging": (phoneme_tagging, {"wav"}),
}


def make(tab: Tab, task: str, client: Client) -> None:
    """The special tab of a task, or the generic one."""
    special, needed = SPECIAL.get(task, (generic, set()))
    (special if needed <= set(tab.signatures) else generic)(tab, client)


def split_sentences(text: str) -> list[str]:
    """Sentences, paragraphs and items of lists with a word in them, each once."""
    parts = re.split(r"(?<=[.!?])\s+|\n\s*\n|\n\s*(?=[-*\u2022]\s)", text.strip())
    parts = (re.sub(r"^[-*\u2022]\s+", "", " ".join(part.split())) for part in parts)
    return list(dict.fromkeys(part for part in parts if re.search(r"[^\W_]", part)))


def _examples(tab: Tab, inputs: list, *names: str) -> None:
    rows = tab.columns(*names)
    if rows and names:
        gr.Examples(rows, inputs, label="Examples")


def _run(begin: Callable, answer: Callable, inputs: list, outputs: list) -> None:
    """Calls `answer` when a person asks; its errors are shown as messages."""

    def answered(*values):
        try:
            result = answer(*values)
        except RequestError as error:
            raise gr.Error(str(error), title="It did not work", print_exception=False) from None
        # Gradio would take a list of one for the value of the only component.
        return result[0] if isinstance(result, list) and len(outputs) == 1 else result

    begin(answered, inputs, outputs, api_name=False)
