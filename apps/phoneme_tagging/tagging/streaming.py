"""Recordings too long to hear at once, and speech that is tagged while it comes in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from apps.phoneme_tagging.config import ModelConfig
from apps.phoneme_tagging.corpora.phones import runs
from apps.phoneme_tagging.tagging import viterbi
from apps.phoneme_tagging.tagging.transcripts import Phone, merge
from common.inputs import audio
from common.layers import recurrent
from common.runs.errors import UserError

WINDOW = 3000  # frames: 30 s
MARGIN = 300
CONTEXT = 5  # frames: derivatives look at 4 on either side, whose windows reach into another


def logits_in_windows(
    hear: Callable[[np.ndarray], np.ndarray],
    waveform: np.ndarray,
    *,
    window: int = WINDOW,
    margin: int = MARGIN,
) -> np.ndarray:
    """The network's logits for a recording of any length, float32 (frames, choices).

    It is heard in overlapping windows, in bounded memory. The frames of each window's margins are
    thrown away: what lies further off moves the others by less than rounding in a trained LSTM.

    Args:
        hear: waveform float32 (samples,) at 16 kHz -> logits float32 (frames, choices).
        waveform: float32 (samples,).
        window: frames taken of each window.
        margin: frames heard before and after them.
    """
    frames = len(waveform) // audio.FRAME_SHIFT
    logits = []
    for start in range(0, frames, window):
        first, end = max(start - margin, 0), start + window
        last = (end + margin) * audio.FRAME_SHIFT if end + margin < frames else None
        heard = hear(waveform[first * audio.FRAME_SHIFT : last])
        logits.append(heard[start - first : min(end, frames) - first])
    return np.concatenate(logits)


class Stream:
    """One recording in chunks of samples: phones, each once it is over, as of the whole recording.

    It keeps the samples that the next frames need and the states of the network.

    Raises:
        UserError: the run needs the whole recording.
    """

    def __init__(
        self, network: Any, phones: list[str], decoder: viterbi.Decoder, config: ModelConfig
    ):
        options = (config.direction, config.normalization)
        if options != ("forward", "training") or config.cell == "mlp":
            raise UserError(
                "expected a run of --model.direction forward, --model.normalization training and a "
                f"recurrent --model.cell, got {', '.join([*options, config.cell])}, which needs "
                "the whole recording: train one, or give it a file"
            )
        self.phones, self.config, self.decoder = phones, config, decoder
        self.normalize, self.classify = network.get_layer("normalize"), network.get_layer("logits")
        self.dim = audio.feature_dim(config.features, config.num_mels)
        self.steps = recurrent.make_decoder(
            self.dim, config.units, cell=config.cell, num_layers=config.layers
        )
        self.steps.set_weights(network.get_layer("frame_lstm").get_weights())
        samples = [tf.TensorSpec([None], tf.float32)]
        self._features = tf.function(self._features_of, autograph=False, input_signature=samples)
        self._step = tf.function(self._step_of, autograph=False, reduce_retracing=True)
        self.states = recurrent.zero_states(self.steps, 1)
        self.late = config.delay_frames  # outputs still to come that answer to no frame
        self.samples = np.zeros(0, np.float32)
        self.next_frame = 0  # in `samples`
        self.best = viterbi.Online(self.decoder.transitions.numpy())
        self.waiting = np.zeros((0, len(self.phones)), np.float32)  # posteriors of open frames
        self.names: list[str] = []  # phones of the decided frames from `first` on
        self.probability: list[float] = []
        self.first = self.num_samples = 0

    def feed(self, chunk: np.ndarray) -> list[Phone]:
        """Takes more samples, float (samples,) at 16 kHz; gives the phones that are over.

        Raises:
            UserError: samples that are no numbers.
        """
        if not np.isfinite(chunk).all():
            raise UserError("expected numbers as samples, got NaN or infinity: look at the source")
        self.num_samples += len(chunk)
        self.samples = np.concatenate([self.samples, chunk.astype(np.float32)])
        self._take(self._hear(len(self.samples) // audio.FRAME_SHIFT - CONTEXT))
        phones = self._decide(self.best.certain())
        if phones:  # the last one may go on
            _, start = runs(self.names)[-1]
            self.first += start
            del self.names[:start], self.probability[:start]
        return phones[:-1]

    def finish(self) -> list[Phone]:
        """The end of the recording: gives the rest of its phones."""
        features = self._hear(len(self.samples) // audio.FRAME_SHIFT)
        nothing = np.zeros((self.config.delay_frames, self.dim), np.float32)
        self._take(np.concatenate([features, nothing]))
        return self._decide(self.best.rest())

    def _features_of(self, samples: tf.Tensor) -> tf.Tensor:
        """Normalised, (samples,) -> (1, frames, dim)."""
        kind, num_mels = self.config.features, self.config.num_mels
        size = tf.size(samples)[None]
        return self.normalize(audio.features(samples[None], size, kind=kind, num_mels=num_mels)[0])

    def _step_of(self, features: tf.Tensor, states: list) -> tuple[tf.Tensor, list]:
        mask = tf.ones(tf.shape(features)[:2], tf.bool)
        encoded, *after = self.steps([features, mask, *states], training=False)
        return self.classify(encoded), after

    def _hear(self, until: int) -> np.ndarray:
        """Features of the frames from the next one to `until`; drops old samples."""
        if until <= self.next_frame:
            return np.zeros((0, self.dim), np.float32)
        features = self._features(self.samples)[0, self.next_frame : until].numpy()
        unneeded = max(until - CONTEXT, 0)
        self.samples = self.samples[unneeded * audio.FRAME_SHIFT :]
        self.next_frame = until - unneeded
        return features

    def _take(self, features: np.ndarray) -> None:
        if len(features):
            logits, self.states = self._step(tf.constant(features[None]), self.states)
            logits = logits[:, min(self.late, len(features)) :]
            self.late = max(self.late - len(features), 0)
            self.best.add(self.decoder.scores(logits)[0].numpy())
            self.waiting = np.concatenate([self.waiting, tf.nn.softmax(logits)[0].numpy()])

    def _decide(self, path: list[int]) -> list[Phone]:
        """Phones from `first` on, with the decided frames of `path`."""
        self.names += [self.phones[phone] for phone in path]
        self.probability += [row[phone] for row, phone in zip(self.waiting, path, strict=False)]
        self.waiting = self.waiting[len(path) :]
        end_s = self.num_samples / audio.SAMPLE_RATE
        return merge(self.names, self.probability, first=self.first, end_s=end_s)
