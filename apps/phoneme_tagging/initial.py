"""Weights to begin from: those of another run, e.g. of synthetic speech for people's."""

import logging
from pathlib import Path

import keras
import numpy as np

from apps.phoneme_tagging.config import APP
from common.inputs.text import Vocabulary
from common.runs.directory import RunDirectory
from common.training import checkpoints

logger = logging.getLogger("cellstate")


def copy_weights(run_dir: Path, model: keras.Model, phones: Vocabulary) -> None:
    """Copies a run's weights into a new model; its normalisation stays that of the new data.

    The outputs of phones that the run does not know keep their own first weights.

    Args:
        run_dir: of this app, with the same layers.
        model: from `build_model`.
        phones: its classes.

    Raises:
        UserError: no run of this app, or its layers have other shapes.
    """
    run = RunDirectory.open(run_dir, app=APP)
    given = {layer.name: layer for layer in run.load_model().layers}
    known = Vocabulary.load(run.path / "vocab_phones.txt").tokens
    for layer in model.layers:
        if layer.name == "normalize" or not layer.get_weights():
            continue
        if layer.name == "logits":
            _copy_outputs(given[layer.name], layer, known, phones.tokens)
            continue
        found = given[layer.name].get_weights() if layer.name in given else []
        checkpoints.require_same_shapes(
            layer.name, _shapes(layer.get_weights()), _shapes(found), run_dir=run_dir
        )
        layer.set_weights(found)
    both = sum(phone in known for phone in phones.tokens)
    logger.info("begins from %s: %d of %d phones known there", run_dir, both, len(phones))


def _shapes(weights: list[np.ndarray]) -> list[tuple[int, ...]]:
    return [weight.shape for weight in weights]


def _copy_outputs(given, layer, known, wanted) -> None:
    """The columns of the phones that both have."""
    pairs = [(known.index(phone), place) for place, phone in enumerate(wanted) if phone in known]
    source, target = np.array(pairs).T
    weights = layer.get_weights()
    for new, old in zip(weights, given.get_weights(), strict=True):
        new[..., target] = old[..., source]
    layer.set_weights(weights)
