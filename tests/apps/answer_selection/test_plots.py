"""Facts about the pictures."""

import numpy as np
from PIL import Image

from apps.answer_selection.ranking import plots


def test_words_that_count_above_the_mean_are_coloured_and_no_others(tmp_path):
    """A piece without a word has no share and does not lower the mean."""
    for name, shares in (("even", [0.5, 0.0, 0.5]), ("first", [0.9, 0.0, 0.1])):
        words = list(zip(["tolerance", "=", "of"], shares, strict=True))
        plots.labelled_texts([("1.", words)], title="what is tol?", path=tmp_path / f"{name}.png")
    colours = {
        name: np.ptp(np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")), axis=2).max()
        for name in ("even", "first")
    }
    assert colours["even"] == 0 and colours["first"] > 100
