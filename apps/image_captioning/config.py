"""Options of the image captioning template. `replace(SMALL, ...)` in a notebook."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.training.options import Options

APP = "image_captioning"  # the folder; run directories name it


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    image_encoder: str = "efficientnet_lite0"
    """small_cnn, efficientnet_lite0, or a class of keras.applications such as ResNet50."""
    image_weights: Path | None = None
    """Local .weights.h5 file for a keras.applications encoder; without it, random weights."""
    train_image_encoder: bool = False
    """False keeps the CNN frozen and computes its features once; True trains it along."""
    train_encoder_from: str | None = None
    """The first layer to train, by the beginning of its name, such as blocks-15; all by default."""
    image_size: int = 128
    """Images are scaled to this many pixels in height and width."""
    cnn_channels: tuple[int, ...] = (16, 32, 64)
    """Stages of small_cnn; each halves rows and columns."""
    colour_bins: int | None = 5
    """Bins of red, green and blue of the histogram beside each region's features; None: none."""
    decoder: Literal["soft_attention", "show_and_tell"] = "soft_attention"
    """Xu et al. 2015, or without attention Vinyals et al. 2015."""
    region_dim: int = 256
    """The grid's channels are projected to this size before the decoder reads them."""
    word_dim: int = 128
    units: int = 256
    attention_units: int = 128
    dropout: float = 0.3
    """Share of regions' features, word vectors and decoder outputs dropped in training."""

    def __post_init__(self):
        if not 0 <= self.dropout < 1:
            raise ValueError(f"expected model.dropout in [0, 1), got {self.dropout}")
        for name in ("image_size", "region_dim", "word_dim", "units", "attention_units"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"expected model.{name} of at least 1, got {value}")
        if self.colour_bins is not None and self.colour_bins < 2:
            raise ValueError(f"expected model.colour_bins of at least 2, got {self.colour_bins}")
        if self.train_encoder_from is not None and not self.train_image_encoder:
            raise ValueError("expected model.train_image_encoder with model.train_encoder_from")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    name: Literal["emoji", "karpathy", "flickr8k", "folder"] = "emoji"
    """emoji comes by pip; the others need --data.root."""
    root: Path | None = None
    """Folder with the official files as published."""
    cache_dir: Path | None = None
    """Where prepared data and features are kept; the folder of tensorflow-datasets by default."""
    beam: str | None = None
    """Options of an Apache Beam pipeline that prepares the data, without dashes: "runner=..."."""
    max_images: int | None = None
    """Take only the first so many training images; an eighth as many for validation."""
    max_caption_words: int = 30
    """Longer captions are cut in training; the decoder writes no longer ones."""
    captions_per_image: int = 5
    """At most so many captions of an image are trained on."""
    min_word_count: int = 1
    """Rarer words of the training captions count as unknown."""

    def __post_init__(self):
        for name in ("max_caption_words", "captions_per_image", "min_word_count"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"expected data.{name} of at least 1, got {value}")
        if self.max_images is not None and self.max_images < 8:
            raise ValueError(f"expected data.max_images of at least 8, got {self.max_images}")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    mirror: bool = False
    """Mirrors about half of the images, drawn anew in each epoch."""
    turn: bool = False
    """Turns images by zero to three quarters, drawn anew in each epoch; for views from above."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    epochs: int = 30
    patience: int = 5
    """Stop after so many epochs without a better CIDEr on validation."""
    batch_size: int = 32
    """Images in a batch, each with its captions."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of products and activations of a CNN that is trained along; all else is float32."""
    strategy: Literal["auto", "none", "mirrored", "multi_worker"] = "none"
    """One device, all GPUs of this machine, which needs coverage 0, or the machines of TF_CONFIG
    (docs/guides/scaling.md)."""
    label_smoothing: float = 0.0
    """Share of the target's probability spread over all words (Szegedy et al. 2016)."""
    coverage: float = 0.01
    """Weight of Xu et al.'s doubly stochastic term: every region is looked at once in total."""
    init_from: Path | None = None
    """A run to begin from: its CNN and its decoder; the vectors of words by the words."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"expected train.label_smoothing in [0, 1), got {self.label_smoothing}"
            )


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    beam: int = 5
    """Hypotheses at each step; as many captions are returned."""
    length_penalty: float = 0.0
    """Exponent of GNMT's length penalty: above 0, longer captions lose less."""

    def __post_init__(self):
        if self.beam < 1:
            raise ValueError(f"expected decoding.beam of at least 1, got {self.beam}")


@dataclass(frozen=True, kw_only=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)


TINY = Config(
    model=ModelConfig(
        image_encoder="small_cnn",
        image_size=16,
        cnn_channels=(8, 16),
        colour_bins=2,
        region_dim=16,
        word_dim=16,
        units=16,
        attention_units=16,
        dropout=0.0,
    ),
    data=DataConfig(max_images=256),
    train=TrainConfig(epochs=2, batch_size=16),
    decoding=DecodingConfig(beam=2),
)
SMALL = Config()
PAPER = Config(  # sizes of Xu et al. 2015 for Flickr and COCO: 14 x 14 regions, 1000 units
    model=ModelConfig(
        image_size=448,
        region_dim=512,
        word_dim=512,
        units=1000,
        attention_units=512,
        dropout=0.5,
    ),
    data=DataConfig(min_word_count=5),
    train=TrainConfig(epochs=50, batch_size=64, learning_rate=4e-4, coverage=1.0),
)
DEMO_FLOORS = {"exact_match": 0.65}
MONITOR = "val_cider"
"""The column of history.csv that chooses the epoch, and options in `tune`."""
SEARCH = {
    "train.learning_rate": ("log", 3e-4, 1e-2),
    "model.units": ("one of", 128, 256, 512),
    "model.dropout": ("uniform", 0.0, 0.6),
}
PRESETS = {"tiny": TINY, "small": SMALL, "paper": PAPER}
