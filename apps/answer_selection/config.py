"""Options of the answer selection template. `replace(SMALL, ...)` in a notebook."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from common.training.options import Options

APP = "answer_selection"  # the folder; run directories name it
Package = Literal["numpy", "scipy", "sklearn", "keras", "tensorflow", "matplotlib"]
Protocol = Literal["raw", "clean", "filtered"]
"""Which questions count in MAP and MRR: all, those with a right and a wrong candidate, those with a
right one (ranking/metrics.py)."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    matching: Literal["compare_aggregate", "stacked"] = "compare_aggregate"
    """Wang & Jiang 2017, or Wang & Nyberg 2015."""
    word_dim: int = 50
    word_vectors: Literal["random", "glove"] = "glove"
    """glove needs word_dim 50 (the vectors of the pip package), or a file of your own."""
    word_vectors_file: Path | None = None
    """Text file with a word and its numbers a line (GloVe, word2vec); word_dim of them."""
    more_words: int = 100_000
    """Vectors that are not trained: so many first words of their file are known from it alone."""
    train_word_vectors: bool = True
    """False keeps the word vectors as they are in their file."""
    units: int = 64
    """LSTM units in each direction."""
    layers: int = 1
    direction: Literal["forward", "both"] = "both"
    compare_units: int = 64
    """Size of what is compared, and of the hidden layer before the score."""
    match_features: bool = True
    """Tell the network which words stand in both texts, and how rare they are (IDF)."""
    dropout: float = 0.2
    """Share of word vectors, LSTM inputs and pooled features dropped in training."""
    agreement: float = 0.0
    """What it adds to a score that other candidates of the question say the same: 8 where they come
    from many texts, 0 where each says something else (ranking/agreement.py)."""

    def __post_init__(self):
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout must be in [0, 1), got {self.dropout}")
        if min(self.word_dim, self.units, self.layers, self.compare_units) < 1:
            raise ValueError("model sizes and layers must be at least 1 (model.*)")
        if self.agreement < 0:
            raise ValueError(f"model.agreement must not be negative, got {self.agreement}")
        is_random, has_file = self.word_vectors == "random", self.word_vectors_file is not None
        if is_random and (has_file or not self.train_word_vectors):
            raise ValueError(
                "model.word_vectors random are trained and come from no file: set glove, "
                "or leave out model.word_vectors_file and model.no_train_word_vectors"
            )
        if not (is_random or has_file or self.word_dim == 50):
            raise ValueError(
                f"model.word_vectors glove needs model.word_dim 50, got {self.word_dim}; "
                "or give model.word_vectors_file"
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    name: Literal["docstrings", "trecqa", "trecqa_train", "wikiqa", "folder"] = "docstrings"
    """docstrings comes by pip; the others need --data.root."""
    root: Path | None = None
    """Folder with the official files as published; for folder, one with CSV files."""
    packages: tuple[Package, ...] = get_args(Package)
    """Whose documentation is mined for docstrings."""
    cache_dir: Path | None = None
    """Where prepared data is kept; the folder of tensorflow-datasets by default."""
    service: str | None = None
    """grpc://host:port of a tf.data service that makes the batches (docs/guides/scaling.md)."""
    protocol: Protocol = "clean"
    """Which questions count in MAP and MRR: all, with right and wrong candidates, with right."""
    max_questions: int | None = None
    """Take only the first so many training questions; an eighth as many for validation."""
    max_question_words: int = 30
    """Longer questions are cut."""
    max_candidate_words: int = 60
    """Longer candidates are cut."""
    min_word_count: int = 1
    """Rarer words of the training texts count as unknown."""
    hash_buckets: int = 512
    """Unknown words share so many vectors, by a hash of their letters."""
    memory_mb: int = 1024
    """Word ids of the training texts are kept in memory if they fit into this."""

    def __post_init__(self):
        if min(self.max_question_words, self.max_candidate_words, self.hash_buckets) < 1:
            raise ValueError("data.max_*_words and data.hash_buckets must be at least 1")
        if not self.packages:
            raise ValueError("data.packages must name at least one package")
        if self.max_questions is not None and self.max_questions < 8:
            raise ValueError(f"data.max_questions must be at least 8, got {self.max_questions}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    epochs: int = 3
    patience: int = 2
    batch_size: int = 16
    """Questions a batch, each with its candidates."""
    candidates_per_question: int = 6
    """At most so many, drawn anew each epoch: right ones up to half, the rest wrong ones."""

    def __post_init__(self):
        super().__post_init__()
        if self.candidates_per_question < 2:
            raise ValueError("train.candidates_per_question must be at least 2: right and wrong")


@dataclass(frozen=True, kw_only=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


TINY = Config(
    model=ModelConfig(word_dim=8, word_vectors="random", units=8, compare_units=16, dropout=0.0),
    data=DataConfig(packages=("numpy",), max_questions=256, hash_buckets=16),
    train=TrainConfig(epochs=2, batch_size=16, learning_rate=1.5e-2),
)
SMALL = Config()
# Sizes of Wang & Jiang 2017: 150 units, GloVe vectors as they are. Theirs have 300 numbers, those
# of the pip package 50: --model.word-vectors-file FILE --model.word-dim 300.
PAPER = Config(
    model=ModelConfig(train_word_vectors=False, units=150, compare_units=150),
    train=TrainConfig(epochs=20, patience=4, batch_size=30, candidates_per_question=16),
)
DEMO_FLOORS = {"mrr": 0.70}
MONITOR = "val_map"
"""The column of history.csv that chooses the epoch, and options in `tune`."""
SEARCH = {
    "train.learning_rate": ("log", 3e-4, 1e-2),
    "model.units": ("one of", 32, 64, 128),
    "model.dropout": ("uniform", 0.0, 0.5),
}
PRESETS = {"tiny": TINY, "small": SMALL, "paper": PAPER}
