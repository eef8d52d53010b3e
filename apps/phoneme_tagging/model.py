"""Phoneme tagging: the training graph, and the part that turns sound into phones.

features float32 (batch, frames, dim), frame_mask bool (batch, frames)
    -> logits (batch, frames, choices)
"""

import functools
import logging
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from apps.phoneme_tagging.config import APP, Config, ModelConfig
from apps.phoneme_tagging.tagging.viterbi import Decoder, PhoneCounts
from common.export import saved_model
from common.inputs import audio
from common.inputs.text import Vocabulary
from common.layers import recurrent
from common.runs import directory
from common.training import checkpoints

logger = logging.getLogger("cellstate")


class Normalization(NamedTuple):
    """Mean and variance of the features in training, float32 (dim,)."""

    mean: np.ndarray
    variance: np.ndarray


def build_model(
    config: ModelConfig, *, num_phones: int, normalization: Normalization
) -> keras.Model:
    """The network (see the module)."""
    dim = audio.feature_dim(config.features, config.num_mels)
    features = keras.Input((None, dim), name="features")
    frame_mask = keras.Input((None,), dtype="bool", name="frame_mask")
    if config.normalization == "training":
        mean, variance = normalization
        layer = keras.layers.Normalization(mean=mean, variance=variance, name="normalize")
        normalized = layer(features)
    else:
        normalized = _normalize_each(features, frame_mask)
    if config.input_noise:
        normalized = keras.layers.GaussianNoise(config.input_noise, name="noise")(normalized)
    normalized = normalized * ops.cast(frame_mask, "float32")[..., None]
    encode = _window if config.cell == "mlp" else _remember
    encoded = encode(normalized, frame_mask, config)
    encoded = keras.layers.Dropout(config.dropout, name="dropout")(encoded)
    logits = keras.layers.Dense(num_phones, dtype="float32", name="logits")(encoded)
    return keras.Model({"features": features, "frame_mask": frame_mask}, {"logits": logits})


def _normalize_each(features, frame_mask):
    """Each utterance with mean 0 and variance 1 over its real frames: (batch, frames, dim)."""
    weight = ops.cast(frame_mask, "float32")[..., None]
    count = ops.maximum(ops.sum(weight, axis=1, keepdims=True), 1.0)
    centred = features - ops.sum(weight * features, axis=1, keepdims=True) / count
    variance = ops.sum(weight * centred**2, axis=1, keepdims=True) / count
    return centred / ops.sqrt(variance + 1e-3)  # digital silence has no variance at all


def _remember(normalized, frame_mask, config: ModelConfig):
    """The recurrent layers: (batch, frames, width).

    `delay_frames` of zeros follow each utterance, so that late answers find room.
    """
    delay = config.delay_frames
    if delay:
        # As real as the frames: the mask of each row grows by `delay`, on whichever side it is.
        more = ops.repeat(ops.ones_like(frame_mask[:, :1]), delay, axis=1)
        zeros = ops.repeat(ops.zeros_like(normalized[:, :1]), delay, axis=1)
        normalized = ops.concatenate([normalized, zeros], axis=1)
        frame_mask = ops.concatenate([more, frame_mask], axis=1)
    encode = recurrent.make_encoder(
        normalized.shape[-1],
        config.units,
        cell=config.cell,
        num_layers=config.layers,
        bidirectional="concat" if config.direction == "both" else "no",
        dropout=config.dropout,
        name="frame_lstm",
    )
    encoded, _ = encode([normalized, frame_mask])  # (batch, frames + delay, width)
    return encoded[:, delay:]


def _window(normalized, frame_mask, config: ModelConfig):
    """A multilayer perceptron that is moved over the frames; zeros lie beyond both ends.

    Frame t sees `window_frames`, from t - (window_frames - 1) // 2 on.
    """
    encoded = normalized
    for number in range(config.layers):
        encoded = keras.layers.Dropout(config.dropout, name=f"dropout_{number}")(encoded)
        encoded = keras.layers.Conv1D(
            config.units,
            config.window_frames if number == 0 else 1,
            padding="same",
            activation="tanh",
            name=f"window_{number}",
        )(encoded)
    return encoded * ops.cast(frame_mask, "float32")[..., None]


def copy_weights(run_dir: Path, model: keras.Model, phones: Vocabulary) -> None:
    """Begins from another run: copies its weights into a new model, but for the normalisation.

    Outputs are copied by the names of `phones`; those that the run does not know keep their own
    first weights.

    Raises:
        UserError: no run of this app, or its layers have other shapes.
    """
    run = directory.RunDirectory.open(run_dir, app=APP)
    sources = {layer.name: layer.get_weights() for layer in run.load_model().layers}
    source_phones = Vocabulary.load(run.path / "vocab_phones.txt").tokens
    shared = [phone for phone in phones.tokens if phone in source_phones]
    columns = [phones.tokens.index(phone) for phone in shared]
    source_columns = [source_phones.index(phone) for phone in shared]
    for layer in model.layers:
        weights, source = layer.get_weights(), sources.get(layer.name, [])
        if layer.name == "logits":
            for new, old in zip(weights, source, strict=True):
                new[..., columns] = old[..., source_columns]
            layer.set_weights(weights)
        elif layer.name != "normalize" and weights:
            shapes = ([array.shape for array in arrays] for arrays in (weights, source))
            checkpoints.require_same_shapes(layer.name, *shapes, run_dir=run_dir)
            layer.set_weights(source)
    logger.info("begins from %s: %d of %d phones known there", run_dir, len(shared), len(phones))


class Tagger(tf.Module):
    """Sound to phones: what `predict` calls and `export` writes, so both give the same.

    waveform float32 (batch, samples) at 16 kHz, num_samples int32 (batch,) ->
        phone string (batch, frames), "" beyond the end; probability float32 (batch, frames), of
        that phone by the network; start_s float32 (frames,).

    Raises:
        tf.errors.InvalidArgumentError: names the rows shorter than 25 ms, or with NaN samples.
    """

    def __init__(
        self, model: keras.Model, phones: Vocabulary, decoder: Decoder, config: ModelConfig
    ):
        super().__init__()
        self.weights = saved_model.weights_of(model)
        self.network = functools.partial(model, training=False)
        self.decoder = decoder
        self.config = config
        self.phones = tf.constant([*phones.tokens, ""])

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None], tf.float32, name="waveform"),
            tf.TensorSpec([None], tf.int32, name="num_samples"),
        ],
    )
    def __call__(self, waveform: tf.Tensor, num_samples: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the class."""
        tagged = self.decode(*self.hear(_checked(waveform, num_samples), num_samples))
        return {name: tagged[name] for name in ("phone", "probability", "start_s")}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="wav")])
    def wav(self, wav: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same of encoded WAV files: 16-bit PCM at 16 kHz, the mean of their channels."""
        waveform = tf.map_fn(
            audio.decode_wav, wav, fn_output_signature=tf.RaggedTensorSpec([None], tf.float32)
        )
        return self(waveform.to_tensor(), tf.cast(waveform.row_lengths(), tf.int32))

    def hear(self, waveform: tf.Tensor, num_samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits float32 (batch, frames, choices) and frame_mask bool (batch, frames)."""
        features, mask = audio.features(
            waveform, num_samples, kind=self.config.features, num_mels=self.config.num_mels
        )
        return self.network({"features": features, "frame_mask": mask})["logits"], mask

    def decode(self, logits: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """The outputs of `__call__` and posteriors float32 (batch, frames, choices)."""
        path = self.decoder(logits, mask)
        posteriors = tf.nn.softmax(logits)
        probability = tf.gather(posteriors, path, batch_dims=2)
        frames = tf.range(tf.shape(mask)[1])
        return {
            "phone": tf.gather(self.phones, tf.where(mask, path, len(self.phones) - 1)),
            "probability": tf.where(mask, probability, 0.0),
            "start_s": tf.cast(frames, tf.float32) * audio.FRAME_S,
            "posteriors": posteriors,
        }


def load_inference(run_dir: Path) -> Tagger:
    """The part of a run that takes raw inputs: for `predict`, `export` and `evaluate`.

    Raises:
        UserError: no run of this app, or its model is missing or damaged.
    """
    run, config = directory.open_run(run_dir, app=APP, config_type=Config)
    model = run.load_model()
    num_phones = model.output["logits"].shape[-1]
    phones = Vocabulary.load(run.path / "vocab_phones.txt", size=num_phones)
    decoder = Decoder(PhoneCounts.load(run.path / "phone_counts.json"))
    return Tagger(model, phones, decoder, config.model)


def _checked(waveform: tf.Tensor, num_samples: tf.Tensor) -> tf.Tensor:
    """Fails inside the graph, naming the rows that cannot be tagged."""
    size = tf.shape(waveform)[1]
    broken = tf.sequence_mask(num_samples, size) & ~tf.math.is_finite(waveform)
    bounds = f"num_samples: expected at least {audio.WINDOW} and at most those given, not so in row"
    problems = {
        bounds: (num_samples < audio.WINDOW) | (num_samples > size),
        "waveform: expected numbers, found NaN or infinity in row": tf.reduce_any(broken, axis=1),
    }
    checks = [
        tf.debugging.Assert(~tf.reduce_any(rows), [problem, tf.where(rows)[:, 0]], summarize=20)
        for problem, rows in problems.items()
    ]
    with tf.control_dependencies(checks):
        return tf.identity(waveform)
