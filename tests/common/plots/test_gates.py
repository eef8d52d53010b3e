"""Facts about pictures of gates, read back from the pixels of the file."""

import numpy as np
import pytest
from PIL import Image

from common.plots import gates
from common.runs.errors import UserError

NAMES = ("input", "forget", "output", "candidate", "cell", "hidden")
YELLOW, PURPLE = (253, 231, 36), (68, 1, 84)  # the ends of viridis


def traced(time: int, *, forget: float) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    values = {name: random.uniform(0.2, 0.8, (time, 5)) for name in NAMES}
    return {**values, "forget": np.full((time, 5), forget)}


def pixels(path, color) -> int:
    with Image.open(path) as file:
        rgb = np.asarray(file.convert("RGB")).astype(int)
    return int((np.abs(rgb - color).max(axis=-1) <= 2).sum())


def test_an_open_gate_is_yellow_and_a_closed_one_purple(tmp_path):
    counts = []
    for forget in (1.0, 0.0):
        path = tmp_path / f"{forget}.png"
        gates.gates_over_words(
            traced(3, forget=forget), ["is", "it", "red"], title="is it red?", path=path
        )
        counts.append([pixels(path, color) for color in (YELLOW, PURPLE)])
    (open_yellow, open_purple), (closed_yellow, closed_purple) = counts
    assert open_yellow > 20 * closed_yellow
    assert closed_purple > 20 * open_purple


def test_sound_has_a_panel_above_the_gates(tmp_path):
    waveform = np.sin(np.arange(16_000) / 10)
    segments = [("h#", 0.0, 0.4), ("aa", 0.4, 1.0)]
    sizes = {}
    for names in (NAMES[3:], NAMES[4:]):
        path = tmp_path / f"{len(names)}.png"
        values = {name: traced(98, forget=1.0)[name] for name in names}
        gates.gates_over_sound(values, waveform, segments, title="aa", path=path)
        with Image.open(path) as file:
            sizes[len(names)] = file.size
    assert sizes[3][0] == sizes[2][0]
    assert sizes[3][1] - sizes[2][1] == pytest.approx(1.3 * 120, abs=1)


def test_a_gated_recurrent_unit_has_no_cell(tmp_path):
    values = {name: np.full((4, 3), 0.5) for name in ("update", "reset", "candidate", "hidden")}
    path = tmp_path / "gru.png"
    gates.gates_over_words(values, list("abcd"), title="abcd", path=path, num_units=2)
    assert path.stat().st_size > 5_000


def test_another_suffix_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match=r"ending in \.png"):
        gates.gates_over_words(traced(1, forget=1.0), ["a"], title="", path=tmp_path / "a.gif")
