"""Options of the phoneme tagging template. `replace(SMALL, ...)` in a notebook."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.training.options import Options

APP = "phoneme_tagging"  # the folder; run directories name it
_Lstm = Literal["lstm", "lstm_1997", "peephole", "coupled", "layer_norm"]
Cell = Literal[_Lstm, "elman", "gru", "gru_reset_after", "mlp"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    features: Literal["mfcc", "log_mel"] = "mfcc"
    """12 cepstra or the log energies of the filters; both with log energy and derivatives."""
    num_mels: int = 26
    """Filters from 0 to 8 kHz."""
    normalization: Literal["training", "utterance"] = "training"
    """Mean and variance to normalise the features by: of all training, or of each utterance, which
    then has to be heard whole."""
    input_noise: float = 0.0
    """Standard deviation of the noise on the normalised features in training."""
    phone_set: Literal[61, 48, 39] = 61
    """Classes of the network: the phones of TIMIT, or folded after Lee & Hon (1989)."""
    cell: Cell = "lstm"
    """See common/layers/recurrent.py; all but lstm train in a slow loop. mlp has no memory."""
    window_frames: int = 1
    """With mlp: how many frames the first layer sees, as many before as after, or one more."""
    direction: Literal["both", "forward"] = "both"
    delay_frames: int = 0
    """With forward: answers so many frames late, after hearing what follows."""
    units: int = 128
    """Per direction."""
    layers: int = 1
    dropout: float = 0.2
    """Share of each layer's input dropped in training."""

    def __post_init__(self):
        if not 0 <= self.dropout < 1 or self.input_noise < 0:
            raise ValueError("model.dropout must be in [0, 1), model.input_noise at least 0")
        if min(self.units, self.layers) < 1 or self.num_mels < 13:
            raise ValueError("model.units and layers must be at least 1, num_mels 13")
        if self.window_frames < 1 or (self.window_frames > 1 and self.cell != "mlp"):
            raise ValueError("model.window_frames needs model.cell mlp, and >= 1")
        if self.delay_frames < 0 or (self.delay_frames and self.direction == "both"):
            raise ValueError("model.delay_frames needs model.direction forward, and >= 0")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    name: Literal["espeak", "timit", "folder", "textgrid", "align"] = "espeak"
    """espeak is synthesised by a pip package; the others need --data.root: timit, or a folder of
    recordings with TextGrids, .phn, CTM or transcripts, which are aligned; textgrid and align take
    only these."""
    root: Path | None = None
    """Folder with the official files as published, or with your recordings."""
    phone_map: Path | None = None
    """File with a line `label phone` for labels that are no phones of TIMIT or ARPAbet."""
    tier: str | None = None
    """The TextGrids' tier of phones; by default the first that is named phones, phone, ..."""
    pronunciations: Path | None = None
    """File with a line `word PH PH`, as in CMUdict, for words of transcripts that are not known."""
    cache_dir: Path | None = None
    """Where prepared data is kept; the folder of tensorflow-datasets by default."""
    service: str | None = None
    """grpc://host:port of a tf.data service that makes the batches (docs/guides/scaling.md)."""
    num_utterances: int = 1000
    """Training sentences that espeak speaks; a tenth as many for validation and test."""
    fold: int = 0
    """Which speakers are held back for validation; not for espeak."""
    max_utterances: int | None = None
    """Take only the first so many training utterances; an eighth as many for validation."""

    def __post_init__(self):
        if min(self.num_utterances, self.max_utterances or 8) < 8 or self.fold < 0:
            raise ValueError("data.num_utterances and max_utterances must be at least 8, fold 0")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training utterances are changed, anew in each epoch; 0 leaves them as they are."""

    speed: float = 0.0
    """Played faster or slower by up to this share; pitch and formants move along."""
    noise: float = 0.0
    """White noise, of up to this share of the utterance's own standard deviation."""

    def __post_init__(self):
        if not 0 <= self.speed < 0.5 or self.noise < 0:
            raise ValueError("augment.speed must be in [0, 0.5), augment.noise at least 0")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    epochs: int = 8
    batch_size: int = 16
    """Utterances a batch."""
    learning_rate: float = 3e-3
    """The highest; what comes before and after it is `warmup_steps` and `schedule`."""
    init_from: Path | None = None
    """A run to begin from: its weights; those of the output by the names of the phones."""


@dataclass(frozen=True, kw_only=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


TINY = Config(
    model=ModelConfig(units=16, dropout=0.0),
    data=DataConfig(num_utterances=32),
    train=TrainConfig(epochs=2, batch_size=8),
)
SMALL = Config(
    # Voices that training has not heard differ most in their spectrum as a whole and in their
    # formants: each utterance's own mean, and speeds that move the formants, are for these.
    model=ModelConfig(features="log_mel", num_mels=40, normalization="utterance", dropout=0.1),
    data=DataConfig(num_utterances=2000),
    augment=AugmentConfig(speed=0.15),
    train=TrainConfig(epochs=10),
)
PAPER = Config(
    # Graves & Schmidhuber (2005): one layer of 93 units a direction, 61 phones, a network update
    # after each utterance. 39 inputs where the paper has 26: the second derivatives are more.
    model=ModelConfig(units=93, dropout=0.0),
    train=TrainConfig(epochs=40, patience=5, batch_size=1, learning_rate=3e-4),
)
DEMO_FLOORS = {"frame_accuracy_39": 0.9}
MONITOR = "val_phone_accuracy"
"""The column of history.csv that chooses the epoch, and options in `tune`."""
SEARCH = {
    "train.learning_rate": ("log", 3e-4, 1e-2),
    "model.units": ("one of", 64, 128, 256),
    "model.dropout": ("uniform", 0.0, 0.5),
}
PRESETS = {"tiny": TINY, "small": SMALL, "paper": PAPER}
