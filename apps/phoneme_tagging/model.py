"""Phoneme tagging: the training graph, and the part that turns sound into phones.

features float32 (batch, frames, dim), frame_mask bool (batch, frames)
    -> logits (batch, frames, choices)
"""

import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from apps.phoneme_tagging import layers, viterbi
from apps.phoneme_tagging.config import ModelConfig
from apps.phoneme_tagging.layers import Normalization
from common.export import saved_model
from common.inputs import audio
from common.inputs.text import Vocabulary
from common.layers import recurrent

PRIOR_WEIGHT = 0.5  # 1 would divide the network's probabilities by the phones' share in training


class LanguageModel(NamedTuple):
    """Counts from training: what phones follow each other, and how many frames each has."""

    bigrams: np.ndarray  # (choices, choices)
    frame_counts: np.ndarray  # (choices,)


def build_model(
    config: ModelConfig, *, num_phones: int, normalization: Normalization
) -> keras.Model:
    """The network (see the module)."""
    dim = audio.feature_dim(config.features, config.num_mels)
    features = keras.Input((None, dim), name="features")
    frame_mask = keras.Input((None,), dtype="bool", name="frame_mask")
    normalized = layers.normalize(
        features,
        frame_mask,
        normalization if config.normalization == "training" else None,
        noise=config.input_noise,
    )
    if config.cell == "mlp":
        encoded = layers.window_network(
            normalized,
            frame_mask,
            window=config.window_frames,
            units=config.units,
            num_layers=config.layers,
            dropout=config.dropout,
        )
    else:
        encoded = _remember(normalized, frame_mask, config)
    encoded = keras.layers.Dropout(config.dropout, name="dropout")(encoded)
    logits = keras.layers.Dense(num_phones, dtype="float32", name="logits")(encoded)
    return keras.Model({"features": features, "frame_mask": frame_mask}, {"logits": logits})


def _remember(normalized, frame_mask, config: ModelConfig):
    """The recurrent layers: (batch, frames, width)."""
    heard, heard_mask = layers.wait(normalized, frame_mask, config.delay_frames)
    encode = recurrent.make_encoder(
        normalized.shape[-1],
        config.units,
        cell=config.cell,
        num_layers=config.layers,
        bidirectional="concat" if config.direction == "both" else "no",
        dropout=config.dropout,
        name="frame_lstm",
    )
    encoded, _ = encode([heard, heard_mask])  # (batch, delay + frames, width)
    return encoded[:, config.delay_frames :]


class Decoder(tf.Module):
    """Logits to phones: Viterbi with the bigrams of training and a least duration."""

    def __init__(self, config: ModelConfig, language: LanguageModel):
        super().__init__()
        prior = language.frame_counts / language.frame_counts.sum()
        self.offset = tf.constant(PRIOR_WEIGHT * np.log(prior + 1e-6), tf.float32)
        self.transitions = tf.constant(viterbi.transition_scores(language.bigrams))
        self.acoustic_weight, self.min_frames = config.acoustic_weight, config.min_frames

    def __call__(self, logits: tf.Tensor, frame_mask: tf.Tensor) -> tf.Tensor:
        """(batch, frames, choices), (batch, frames) -> int32 (batch, frames)."""
        return viterbi.decode(
            self.scores(logits), frame_mask, self.transitions, min_frames=self.min_frames
        )

    def scores(self, logits: tf.Tensor) -> tf.Tensor:
        """What a frame of each phone counts in decoding, (batch, frames, choices)."""
        return self.acoustic_weight * (tf.nn.log_softmax(logits) - self.offset)


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
        self.kind, self.num_mels = config.features, config.num_mels
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
        waveform = _checked(waveform, num_samples)
        found = self.tag(waveform, num_samples)
        return {name: found[name] for name in ("phone", "probability", "start_s")}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="wav")])
    def wav(self, wav: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same of encoded WAV files: 16-bit PCM at 16 kHz, the mean of their channels."""
        waveform = tf.map_fn(
            _decode_wav, wav, fn_output_signature=tf.RaggedTensorSpec([None], tf.float32)
        )
        return self(waveform.to_tensor(), tf.cast(waveform.row_lengths(), tf.int32))

    def tag(self, waveform: tf.Tensor, num_samples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The outputs of `__call__` and posteriors float32 (batch, frames, choices)."""
        return self.decode(*self.hear(waveform, num_samples))

    def hear(self, waveform: tf.Tensor, num_samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits float32 (batch, frames, choices) and frame_mask bool (batch, frames)."""
        features, mask = audio.features(
            waveform, num_samples, kind=self.kind, num_mels=self.num_mels
        )
        return self.network({"features": features, "frame_mask": mask})["logits"], mask

    def decode(self, logits: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """What `tag` gives, of what `hear` gives."""
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


def _checked(waveform: tf.Tensor, num_samples: tf.Tensor) -> tf.Tensor:
    """Fails inside the graph, naming the rows that cannot be tagged."""
    size = tf.shape(waveform)[1]
    short = (num_samples < audio.WINDOW) | (num_samples > size)
    real = tf.sequence_mask(num_samples, size)
    wrong = tf.reduce_any(real & ~tf.math.is_finite(waveform), axis=1)
    bounds = f"num_samples: expected at least {audio.WINDOW} and at most those given, not so in row"
    numbers = "waveform: expected numbers, found NaN or infinity in row"
    checks = [
        tf.debugging.Assert(~tf.reduce_any(short), [bounds, tf.where(short)[:, 0]], summarize=20),
        tf.debugging.Assert(~tf.reduce_any(wrong), [numbers, tf.where(wrong)[:, 0]], summarize=20),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(waveform)


def _decode_wav(encoded: tf.Tensor) -> tf.Tensor:
    sound, rate = tf.audio.decode_wav(encoded)
    message = "wav: expected 16,000 samples a second, got"
    check = tf.debugging.Assert(rate == audio.SAMPLE_RATE, [message, rate])
    with tf.control_dependencies([check]):
        return tf.reduce_mean(sound, axis=1)
