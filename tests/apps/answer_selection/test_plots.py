import numpy as np
from PIL import Image

from apps.answer_selection import plots


def test_words_that_count_above_the_mean_are_coloured_and_no_others(tmp_path):
    for name, attention in (("even", [0.5, 0.5]), ("first", [0.9, 0.1])):
        shown = [(1.25, ["tolerance", "of"], np.array(attention))]
        plots.ranked_sentences(shown, title="what is tol?", path=tmp_path / f"{name}.png")
    colours = {
        name: np.ptp(np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")), axis=2).max()
        for name in ("even", "first")
    }
    assert colours["even"] == 0 and colours["first"] > 100
