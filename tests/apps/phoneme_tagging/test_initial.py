"""Weights from another run: the layers as they are, the outputs by the names of the phones."""

import dataclasses

import keras
import numpy as np
import pytest

from apps.phoneme_tagging import initial
from apps.phoneme_tagging.config import TINY
from apps.phoneme_tagging.layers import Normalization
from apps.phoneme_tagging.model import build_model
from common.inputs.text import Vocabulary
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

PHONES = Vocabulary(("s", "eng", "iy"))  # espeak never says eng
FAR = Normalization(np.full(39, 7.0, np.float32), np.ones(39, np.float32))


def build(**options) -> keras.Model:
    model = dataclasses.replace(TINY.model, **options)
    return build_model(model, num_phones=len(PHONES), normalization=FAR)


def test_layers_and_the_outputs_of_known_phones_are_copied(phone_run):
    run = RunDirectory.open(phone_run, app="phoneme_tagging")
    given, model = run.load_model(), build()
    names = Vocabulary.load(run.path / "vocab_phones.txt").tokens
    old, new = given.get_layer("logits"), model.get_layer("logits")
    first = new.get_weights()[0].copy()
    initial.copy_weights(phone_run, model, PHONES)
    for one, other in zip(
        given.get_layer("frame_lstm").get_weights(),
        model.get_layer("frame_lstm").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    for place, phone in enumerate(PHONES.tokens):
        wanted = old.get_weights()[0][:, names.index(phone)] if phone in names else first[:, place]
        np.testing.assert_array_equal(new.get_weights()[0][:, place], wanted)
    np.testing.assert_array_equal(model.get_layer("normalize").mean, FAR.mean[None, None])


def test_other_shapes_are_named(phone_run):
    with pytest.raises(UserError, match=r"frame_lstm.*--model"):
        initial.copy_weights(phone_run, build(units=5), PHONES)
