"""Options of the translation template. `replace(SMALL, ...)` in a notebook."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.training.options import Options

APP = "translation"  # the folder; run directories name it


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    attention: Literal["multiplicative", "additive", "none"] = "multiplicative"
    """Luong et al. 2015, Bahdanau et al. 2015, or a vector of the whole text (Sutskever et al.
    2014)."""
    reverse_source: bool = False
    """The encoder reads the source from its end, as without attention it learns better."""
    piece_dim: int = 192
    """Vectors of pieces, shared by source, target and output."""
    units: int = 256
    """Of the decoder's LSTMs and of the encoder's; of its first, in each direction."""
    encoder_layers: int = 1
    decoder_layers: int = 1
    """Attention looks by the state of the first; the others get what it saw (GNMT)."""
    dropout: float = 0.3
    """Share of vectors, LSTM inputs and decoder outputs dropped in training."""

    def __post_init__(self):
        if not 0 <= self.dropout < 1:
            raise ValueError(f"expected model.dropout in [0, 1), got {self.dropout}")
        for name in ("piece_dim", "units", "encoder_layers", "decoder_layers"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"expected model.{name} of at least 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    name: Literal["emoji_names", "home_assistant", "multi30k", "tatoeba", "folder"] = "emoji_names"
    """emoji_names comes by pip, home_assistant by a package; the others need --data.root."""
    root: Path | None = None
    """Folder with the official files as published; for folder, with pairs.csv or train.en ..."""
    cache_dir: Path | None = None
    """Where prepared data is kept; the folder of tensorflow-datasets by default."""
    source_language: str = "en"
    target_languages: tuple[str, ...] = ("de", "fr", "ja")
    """With more than one, a text is translated into the language that is asked for."""
    num_pieces: int = 2400
    """Size of the vocabulary, with 260 bytes and special tokens."""
    max_pieces: int = 100
    """Longer sources are cut, and no longer translations are written; longer pairs are not trained
    on."""
    max_pairs: int | None = None
    """Take only the first so many training pairs; an eighth as many for validation."""

    def __post_init__(self):
        if not self.target_languages:
            raise ValueError("expected data.target_languages of at least one language, got none")
        if self.num_pieces < 300:
            raise ValueError(f"expected data.num_pieces of at least 300, got {self.num_pieces}")
        if self.max_pieces < 1:
            raise ValueError(f"expected data.max_pieces of at least 1, got {self.max_pieces}")
        if self.max_pairs is not None and self.max_pairs < 8:
            raise ValueError(f"expected data.max_pairs of at least 8, got {self.max_pairs}")
        for language in (self.source_language, *self.target_languages):
            if not language.replace("-", "_").isidentifier():
                raise ValueError(f"expected a language such as de or zh-Hans, got {language!r}")

    @property
    def language_tokens(self) -> list[str]:
        """Of the target languages: what the source begins with (Johnson et al. 2017)."""
        return [f"<to_{language.replace('-', '_')}>" for language in self.target_languages]


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    epochs: int = 5
    patience: int = 5
    """Stop after so many epochs without a better BLEU on validation."""
    batch_size: int = 64
    """Texts in a batch of validation and evaluation."""
    tokens: int = 700
    """Pieces of the longer side in a training batch, with padding: long texts are fewer."""
    learning_rate: float = 4e-3
    warmup_steps: int = 100
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    """Share of the target's probability spread over all pieces (Szegedy et al. 2016)."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"expected train.label_smoothing in [0, 1), got {self.label_smoothing}"
            )
        if self.tokens < 1:
            raise ValueError(f"expected train.tokens of at least 1, got {self.tokens}")


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    beam: int = 5
    """Hypotheses at each step; as many translations are returned."""
    length_penalty: float = 1.0
    """Exponent of GNMT's length penalty: above 0, longer translations lose less."""

    def __post_init__(self):
        if self.beam < 1:
            raise ValueError(f"expected decoding.beam of at least 1, got {self.beam}")
        if self.length_penalty < 0:
            raise ValueError(
                f"expected decoding.length_penalty of at least 0, got {self.length_penalty}"
            )


@dataclass(frozen=True, kw_only=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)


TINY = Config(
    model=ModelConfig(piece_dim=16, units=16, dropout=0.0),
    data=DataConfig(target_languages=("de", "fr"), num_pieces=400, max_pieces=40, max_pairs=256),
    train=TrainConfig(epochs=2, tokens=500, warmup_steps=0),
    decoding=DecodingConfig(beam=2),
)
SMALL = Config()
# GNMT (Wu et al. 2016): 8 + 8 layers of 1,024 units, 32,000 pieces.
PAPER = Config(
    model=ModelConfig(
        attention="additive",
        piece_dim=1024,
        units=1024,
        encoder_layers=8,
        decoder_layers=8,
        dropout=0.2,
    ),
    data=DataConfig(num_pieces=32_000),
    train=TrainConfig(epochs=20, tokens=4000, learning_rate=2e-4, clip_norm=5.0),
)
DEMO_FLOORS = {"bleu": 0.85}
MONITOR = "val_bleu"
"""The column of history.csv that chooses the epoch, and options in `tune`."""
SEARCH = {
    "train.learning_rate": ("log", 1e-3, 1e-2),
    "model.units": ("one of", 128, 256, 512),
    "model.dropout": ("uniform", 0.0, 0.5),
}
PRESETS = {"tiny": TINY, "small": SMALL, "paper": PAPER}
