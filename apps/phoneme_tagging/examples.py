"""Records of utterances -> features and the phone of every frame; what they hold says data.py.

The phone of a frame is the one in the middle of its 10 ms.
"""

from collections.abc import Callable

import tensorflow as tf

from apps.phoneme_tagging import augmentation
from apps.phoneme_tagging.config import AugmentConfig, ModelConfig
from apps.phoneme_tagging.phones import PHONES_61
from common.inputs import audio
from common.inputs.text import Vocabulary


def make_examples(records: tf.data.Dataset, model: ModelConfig) -> tf.data.Dataset:
    """Features and the reference phone of every frame; no padding yet."""
    return records.map(make_encoder(model), num_parallel_calls=tf.data.AUTOTUNE)


def make_encoder(model: ModelConfig) -> Callable[..., dict[str, tf.Tensor]]:
    """A function from a record to an example; with a seed and an AugmentConfig, a changed one."""
    table = Vocabulary(PHONES_61).make_table(unknown=-1)

    def encode(
        record: dict, seed: tf.Tensor | None = None, augment: AugmentConfig | None = None
    ) -> dict[str, tf.Tensor]:
        waveform = tf.cast(record["waveform"], tf.float32) / 32768.0
        recorded, start, end = audio.num_frames(tf.size(waveform)), record["start"], record["end"]
        if seed is not None and augment is not None:
            waveform, stretch = augmentation.change_sound(
                waveform, tf.random.split(seed)[0], augment
            )
            start, end = _stretched(start, stretch), _stretched(end, stretch)
        features, mask = audio.features(
            waveform[None],
            tf.size(waveform)[None],
            kind=model.features,
            num_mels=model.num_mels,
        )
        frames = audio.num_frames(tf.size(waveform))
        features, mask = features[:, :frames], mask[:, :frames]
        phone_ids = table.lookup(record["phone"])
        return {
            "features": features[0],
            "frame_mask": mask[0],
            "reference_id": label_frames(phone_ids, start, end, frames),
            "num_frames": recorded,
            "phone": record["phone"],
            "start": start,
            "utterance_id": record["utterance_id"],
            "speaker": record["speaker"],
        }

    # No branches on tensors: AutoGraph would read all of it again for each data set.
    return tf.autograph.experimental.do_not_convert(encode)


def _stretched(times: tf.Tensor, stretch: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(tf.cast(times, tf.float64) * stretch), times.dtype)


def label_frames(
    phone_ids: tf.Tensor, start: tf.Tensor, end: tf.Tensor, num_frames: tf.Tensor
) -> tf.Tensor:
    """The phone in the middle of each frame.

    Args:
        phone_ids: int32 (phones,).
        start, end: int64 (phones,), samples, rising.
        num_frames: how many frames there are.

    Returns:
        int32 (frames,); -1 in gaps and after the last phone.
    """
    middle = tf.range(num_frames, dtype=tf.int64) * audio.FRAME_SHIFT + audio.FRAME_SHIFT // 2
    place = tf.maximum(tf.searchsorted(start, middle, side="right") - 1, 0)
    inside = (tf.gather(start, place) <= middle) & (middle < tf.gather(end, place))
    return tf.where(inside, tf.gather(phone_ids, place), -1)
