"""Options that every training has. An app's TrainConfig inherits them and sets its own defaults.

Nothing here imports TensorFlow: `--help` answers at once.
"""

from dataclasses import dataclass
from typing import Literal

Schedule = Literal["cosine", "inverse_root"]
Precision = Literal["float32", "bfloat16", "float16"]
Keep = Literal["best", "last"]
StrategyName = Literal["auto", "none", "mirrored", "multi_worker"]


@dataclass(frozen=True, kw_only=True)
class Options:
    epochs: int = 10
    """At most, each one pass over the training examples."""
    patience: int = 3
    """Stop after so many epochs without a better validation metric."""
    keep: Keep = "best"
    """The best epoch on validation, or the last, where few validation examples would choose by
    chance; then `patience` stops nothing."""
    batch_size: int = 16
    """Examples in a step, of all devices together."""
    learning_rate: float = 2e-3
    """The highest; `warmup_steps` come before it and `schedule` after it."""
    schedule: Schedule = "cosine"
    """Falls along a cosine to zero at the last epoch, or with the root of the step."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from zero."""
    clip_norm: float = 5.0
    """Gradients are scaled down to this global norm."""
    weight_decay: float = 0.0
    """Matrices shrink by this times the learning rate in each step (AdamW)."""
    average: float = 0.0
    """Decay of a moving average of the weights, which is validated and saved; 0: none."""
    precision: Precision = "float32"
    """Of products and activations; weights, logits and loss are float32."""
    strategy: StrategyName = "auto"
    """One device, all GPUs of a machine, or the machines of TF_CONFIG (docs/guides/scaling.md)."""
    checkpoint_minutes: float = 10.0
    """Between two checkpoints within an epoch; each epoch ends with one. 0: after every batch."""
    seed: int = 1
    """Of the weights, of dropout and of the order of the examples."""
    deterministic: bool = False
    """The same seed gives the same weights, bit for bit."""

    def __post_init__(self):
        for name in ("epochs", "patience", "batch_size"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"expected train.{name} of at least 1, got {value}")
        if not 0 <= self.average < 1:
            raise ValueError(f"expected train.average in [0, 1), got {self.average}")
        if self.weight_decay < 0:
            raise ValueError(f"expected train.weight_decay of at least 0, got {self.weight_decay}")
        if self.warmup_steps < 0:
            raise ValueError(f"expected train.warmup_steps of at least 0, got {self.warmup_steps}")
