"""Weights to begin from: those of another run of the same app."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError


def require_same_shapes(name: str, wanted: Sequence, found: Sequence, *, run_dir: Path) -> None:
    """Raises UserError, naming the part, where the weights of another run have other shapes.

    Args:
        name: of the part of the network.
        wanted: shapes of its new weights, in order.
        found: of those of the other run; empty where it lacks the part.
        run_dir: of the other run.
    """
    if list(wanted) != list(found):
        raise UserError(
            f"expected weights of the shapes {wanted} for {name} in --train.init-from {run_dir}, "
            f"got {found}: train both with the same --model options"
        )
