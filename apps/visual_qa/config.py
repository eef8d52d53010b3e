"""Options of the visual question answering template. `replace(SMALL, ...)` in a notebook."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from common.training.options import Options

APP = "visual_qa"  # the folder; run directories name it
POOLED = "pooled"  # features of an image, the mean over its regions: in batches, and as a layer


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    image_encoder: str = "small_cnn"
    """small_cnn, efficientnet_lite0, or a class of keras.applications such as ResNet50."""
    image_weights: Path | None = None
    """Local .weights.h5 file for a keras.applications encoder; without it, random weights."""
    train_image_encoder: bool = True
    """False keeps the CNN frozen (pretrained features); True trains it along."""
    image_size: int = 64
    """Images are scaled to this many pixels in height and width."""
    cnn_channels: tuple[int, ...] = (16, 32, 64)
    """Stages of small_cnn; each halves rows and columns."""
    word_dim: int = 64
    word_vectors: Literal["random", "glove"] = "random"
    """glove needs word_dim 50 (the vectors of the pip package)."""
    question_units: int = 128
    question_layers: int = 1
    fusion: Literal["stacked_attention", "question_prior"] = "stacked_attention"
    """stacked_attention: Yang et al. 2016; question_prior: what a frozen CNN sees corrects a
    trained question-only network."""
    hops: int = 2
    """How often the question looks at the image (stacked_attention)."""
    attention_units: int = 64
    """Of each hop's hidden layer; with question_prior, of the product of question and image."""
    dropout: float = 0.0
    """Share of word vectors, LSTM inputs and answer features dropped in training."""

    def __post_init__(self):
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout must be in [0, 1), got {self.dropout}")
        sizes = (self.image_size, self.word_dim, self.question_units, self.attention_units)
        if min(*sizes, self.question_layers, self.hops) < 1:
            raise ValueError("model sizes, question_layers and hops must be at least 1 (model.*)")
        if self.fusion == "question_prior" and self.train_image_encoder:
            raise ValueError("model.fusion question_prior needs model.no-train-image-encoder")
        if self.word_vectors == "glove" and self.word_dim != 50:
            raise ValueError(
                f"model.word_vectors glove needs model.word_dim 50, got {self.word_dim}"
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    name: Literal["easy_vqa", "daquar", "clevr", "vqa_v2", "folder"] = "easy_vqa"
    """easy_vqa comes by pip; the others need --data.root."""
    root: Path | None = None
    """Folder with the official files as published; for folder, one with questions.csv."""
    cache_dir: Path | None = None
    """Where prepared data is kept; the folder of tensorflow-datasets by default."""
    beam: str | None = None
    """Options of an Apache Beam pipeline that prepares the data, without dashes: "runner=..."."""
    service: str | None = None
    """grpc://host:port of a tf.data service that makes the training batches."""
    max_images: int | None = None
    """Take only the first so many training images; an eighth as many for validation."""
    max_question_words: int = 30
    """Longer questions are cut."""
    min_word_count: int = 1
    """Rarer words of the training questions count as unknown."""
    num_answers: int = 1000
    """The classifier chooses among the most common training answers."""
    memory_mb: int = 1024
    """Decoded training images are kept in memory if they fit into this, else read again."""

    def __post_init__(self):
        if min(self.max_question_words, self.num_answers) < 1:
            raise ValueError("data.max_question_words and data.num_answers must be at least 1")
        if self.max_images is not None and self.max_images < 8:
            raise ValueError(f"data.max_images must be at least 8, got {self.max_images}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    epochs: int = 6
    learning_rate: float = 3e-3
    questions_per_image: int = 16
    """A batch holds images; at most so many questions stand with one, more make a second group."""
    question_learning_rate: float | None = None
    """Of the question-only network; `learning_rate` by default."""

    def __post_init__(self):
        super().__post_init__()
        if self.questions_per_image < 1:
            raise ValueError("train.questions_per_image must be at least 1")

    def of_question_only(self) -> "TrainConfig":
        """The options with which the question-only network is trained."""
        return replace(self, learning_rate=self.question_learning_rate or self.learning_rate)


@dataclass(frozen=True, kw_only=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


TINY = Config(
    model=ModelConfig(
        image_size=16, cnn_channels=(8, 16), word_dim=8, question_units=16, attention_units=16
    ),
    data=DataConfig(max_images=128),
    train=TrainConfig(epochs=2, batch_size=16),
)
SMALL = Config()
PAPER = Config(  # sizes of Yang et al. 2016 for VQA: 14 x 14 regions, 1024 units, two hops
    model=ModelConfig(
        image_encoder="efficientnet_lite0",
        train_image_encoder=False,
        image_size=448,
        word_dim=500,
        question_units=1024,
        attention_units=512,
        dropout=0.5,
    ),
    train=TrainConfig(epochs=50, batch_size=100, learning_rate=3e-4),
)
PHOTOS = Config(  # where the text says much of the answer, and photographs are few
    model=ModelConfig(
        image_encoder="efficientnet_lite0",
        train_image_encoder=False,
        image_size=448,
        word_dim=50,
        word_vectors="glove",
        fusion="question_prior",
        attention_units=512,
        dropout=0.3,
    ),
    train=TrainConfig(
        epochs=60, keep="last", learning_rate=1e-3, question_learning_rate=3e-3, weight_decay=0.1
    ),
)
DEMO_FLOORS = {"accuracy": 0.98}
MONITOR = "val_accuracy"
"""The column of history.csv that chooses the epoch, and options in `tune`."""
SEARCH = {
    "train.learning_rate": ("log", 3e-4, 1e-2),
    "model.question_units": ("one of", 64, 128, 256),
    "model.dropout": ("uniform", 0.0, 0.5),
}
PRESETS = {"tiny": TINY, "small": SMALL, "photos": PHOTOS, "paper": PAPER}
