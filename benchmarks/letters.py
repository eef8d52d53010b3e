"""A character model in the small: reads a text letter by letter and says which letter follows.

After Karpathy's min-char-rnn (2015, https://karpathy.github.io/2015/05/21/rnn-effectiveness/), with
an LSTM, and with truncated back-propagation through time (Williams & Peng 1990,
https://doi.org/10.1162/neco.1990.2.4.490) in two forms: the states are carried from one chunk of
the text to the next, while the gradient stops between them, or they begin anew.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from matplotlib.patches import Rectangle

from common.layers import recurrent
from common.plots import figures


class Speller:
    """A character model with its letters.

    Args:
        text: its distinct letters are those that the model knows.
        units: of its one recurrent layer.
        cell: a name in `recurrent.CELLS`.
        seed: of the weights.
    """

    def __init__(self, text: str, *, units: int = 64, cell: str = "lstm", seed: int = 1):
        keras.utils.set_random_seed(seed)
        self.letters = sorted(set(text))
        size = len(self.letters)
        self.decoder = recurrent.make_decoder(size, units, cell=cell)
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        states = [keras.Input(state.shape[1:]) for state in self.decoder.inputs[2:]]
        embedded = ops.one_hot(token_ids, size)
        decoded, *after = self.decoder([embedded, ops.ones_like(token_ids, "bool"), *states])
        logits = keras.layers.Dense(size, name="logits")(decoded)
        self.model = keras.Model([token_ids, *states], [logits, *after])

    def ids(self, text: str) -> np.ndarray:
        """The letters of a text as numbers, int32 (time,)."""
        return np.array([self.letters.index(letter) for letter in text], np.int32)

    def train(
        self,
        text: str,
        *,
        chunk: int,
        steps: int,
        streams: int = 1,
        carry: bool = True,
        learning_rate: float = 1e-2,
    ) -> np.ndarray:
        """Goes through the text again and again, `chunk` letters a step.

        Args:
            text: cut into equal `streams`, which are read at the same time.
            chunk: letters through which the gradient flows back.
            steps: of training.
            streams: rows of a batch.
            carry: begin a chunk with the states after the one before; False: with zeros.
            learning_rate: of Adam; gradients are clipped to the norm 1.

        Returns:
            bits a letter of each step, before it, float32 (steps,).
        """
        read = self.ids(text)[: len(text) // streams * streams].reshape(streams, -1)
        optimizer = keras.optimizers.Adam(learning_rate, global_clipnorm=1.0)
        optimizer.build(self.model.trainable_variables)
        step = _make_step(self.model, optimizer)
        starts = range(0, read.shape[1] - chunk, chunk)
        bits, states = [], self.zero_states(streams)
        for number in range(steps):
            start = starts[number % len(starts)]
            if not carry or start == 0:
                states = self.zero_states(streams)
            piece = tf.constant(read[:, start : start + chunk + 1])
            loss, states = step(piece, states)
            bits.append(float(loss) / np.log(2))
        return np.array(bits, np.float32)

    def spell(self, text: str) -> np.ndarray:
        """The probabilities of the letter after each letter of `text`: (time, letters)."""
        logits, *_ = self._read(self.ids(text), self.zero_states(1))
        return np.asarray(ops.softmax(logits))

    def write(self, start: str, length: int, *, temperature: float = 1.0, seed: int = 1) -> str:
        """Goes on after `start` by `length` letters that are drawn from the model."""
        random = np.random.default_rng(seed)
        logits, *states = self._read(self.ids(start), self.zero_states(1))
        written = start
        for _ in range(length):
            chances = ops.softmax(logits[-1] / temperature).numpy().astype(float)
            drawn = random.choice(len(self.letters), p=chances / chances.sum())
            written += self.letters[drawn]
            logits, *states = self._read([drawn], states)
        return written

    def _read(self, token_ids, states: list) -> list:
        """Logits (time, letters) of one row, and the states after it."""
        logits, *after = self.model([tf.constant([token_ids], tf.int32), *states], training=False)
        return [logits[0], *after]

    def zero_states(self, rows: int) -> list:
        """The states before the first letter."""
        return recurrent.zero_states(self.decoder, rows)


def _make_step(model: keras.Model, optimizer: keras.optimizers.Optimizer):
    """A function from a chunk (rows, chunk + 1) and states to the loss and the states after it."""

    @tf.function(reduce_retracing=True)
    def step(piece, states):
        with tf.GradientTape() as tape:
            logits, *after = model([piece[:, :-1], *states], training=True)
            losses: Any = keras.losses.sparse_categorical_crossentropy(
                piece[:, 1:], logits, from_logits=True
            )
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, after

    return step


def remembered(lag: int, *, blocks: int, seed: int = 1) -> str:
    """A text whose every block of `lag` + 1 letters ends with the letter it begins with: "a...a".

    Only a memory of the letter before the dots predicts the one after them.
    """
    drawn: Sequence[str] = np.random.default_rng(seed).choice(["a", "b"], blocks).tolist()
    return "".join(letter + "." * (lag - 1) + letter for letter in drawn)


def draw_spelling(
    spelled: Mapping[str, np.ndarray], word: str, letters: Sequence[str], *, title: str, path: Path
) -> None:
    """Draws what may follow each letter of a word, a panel for each model or moment of training.

    Args:
        spelled: name -> probabilities (time, letters) of `Speller.spell`, of the word without its
            last letter.
        word: its letter after each step has a frame.
        letters: of the model.
        title: long ones are cut.
        path: .png, .pdf or .svg.
    """
    wide, high = 0.55 * len(word), 0.6 * len(letters) + 1.6
    figure = figures.start(path, size=(wide * len(spelled) + 0.8, high))
    panels = np.atleast_1d(figure.subplots(1, len(spelled), sharey=True))
    for axis, (name, chances) in zip(panels, spelled.items(), strict=True):
        axis.imshow(chances.T, cmap="Blues", vmin=0, vmax=1)
        for (step, row), chance in np.ndenumerate(chances):
            color = "white" if chance > 0.6 else "black"
            axis.text(step, row, f"{chance:.2f}", ha="center", va="center", color=color, fontsize=8)
        for step, after in enumerate(word[1:]):
            corner = (step - 0.5, letters.index(after) - 0.5)
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#b03a2e", linewidth=2))
        axis.set_xticks(range(len(word) - 1), list(word[:-1]))
        axis.set_xlabel("letter read")
        axis.set_title(name, fontsize=10)
    panels[0].set_yticks(range(len(letters)), letters)
    panels[0].set_ylabel("letter that may follow")
    figures.finish(figure, title=title, path=path)


def share_remembered(model: Speller, lag: int, *, blocks: int = 200, seed: int = 2) -> float:
    """The share of fresh `remembered` blocks whose last letter the model finds likeliest."""
    text = remembered(lag, blocks=blocks, seed=seed)
    rows = model.spell(text).reshape(blocks, lag + 1, -1)
    last = model.ids(text).reshape(blocks, lag + 1)[:, -1]
    return float(np.mean(rows[:, -2].argmax(axis=-1) == last))
