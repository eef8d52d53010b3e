"""Facts about drawn attention, read back from the pixels of the file."""

import numpy as np
import pytest
from PIL import Image

from common.plots.figures import attention_over_image, curves, images_with_texts, learning_curves
from common.runs.errors import UserError

GREY = np.full((60, 60, 3), 128, "uint8")
ANSWERS = [("red", 0.7), ("blue", 0.2)]
PLACES = {"top left": (0, 0), "top right": (0, 3), "bottom left": (3, 0), "bottom right": (3, 3)}


def on_one_region(row: int, column: int) -> np.ndarray:
    attention = np.zeros((1, 4, 4), "float32")
    attention[0, row, column] = 1.0
    return attention


def drawn(path, attention, *, image=GREY, answers=ANSWERS, title="which colour?") -> np.ndarray:
    attention_over_image(image, attention, answers, title=title, path=path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    return {
        name: drawn(folder / f"{name}.png", on_one_region(*place)) for name, place in PLACES.items()
    }


def overlay(pictures) -> tuple[slice, slice]:
    """Rows and columns of the file that depend on the attention."""
    stack = np.stack(list(pictures.values()))
    changes = np.any(stack != stack[0], axis=(0, 3))
    (rows,), (columns,) = np.nonzero(changes.any(axis=1)), np.nonzero(changes.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def test_the_file_is_a_png_as_wide_as_its_three_panels(tmp_path):
    drawn(tmp_path / "plot.png", on_one_region(0, 0))
    with Image.open(tmp_path / "plot.png") as file:
        assert (file.format, file.size) == ("PNG", (1152, 432))


def test_each_further_hop_has_a_panel_of_its_own(tmp_path):
    single = drawn(tmp_path / "one.png", on_one_region(0, 0))
    double = drawn(tmp_path / "two.png", np.repeat(on_one_region(0, 0), 2, axis=0))
    assert double.shape[1] - single.shape[1] == 384


def test_the_overlay_of_a_square_image_is_a_square(pictures):
    rows, columns = overlay(pictures)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    assert abs(height - width) <= 3
    assert height > 100


@pytest.mark.parametrize("name", PLACES)
def test_the_brightest_part_lies_over_the_attended_region(pictures, name):
    bright = pictures[name][overlay(pictures)].sum(axis=-1)
    row, column = np.unravel_index(bright.argmax(), bright.shape)
    regions = (row * 4 // bright.shape[0], column * 4 // bright.shape[1])
    assert regions == PLACES[name]


def test_the_overlay_keeps_the_sides_of_a_wide_image(tmp_path):
    wide = np.full((40, 80, 3), 128, "uint8")
    pictures = {
        name: drawn(tmp_path / f"{name}.png", on_one_region(*PLACES[name]), image=wide)
        for name in ("top left", "bottom right")
    }
    rows, columns = overlay(pictures)
    ratio = (columns.stop - columns.start) / (rows.stop - rows.start)
    assert ratio == pytest.approx(2.0, rel=0.05)


def test_the_image_shows_through_its_overlay(tmp_path):
    image = GREY.copy()
    image[:, 30:] = 255
    plain = drawn(tmp_path / "plain.png", on_one_region(0, 0))
    half_white = drawn(tmp_path / "half_white.png", on_one_region(0, 0), image=image)
    attended = np.any(plain != half_white, axis=(0, 2))
    assert attended[: len(attended) // 3].any()
    assert attended[len(attended) // 3 : 2 * len(attended) // 3].any()


def test_the_answers_are_drawn(tmp_path):
    red = drawn(tmp_path / "red.png", on_one_region(0, 0), answers=[("red", 0.9)])
    blue = drawn(tmp_path / "blue.png", on_one_region(0, 0), answers=[("blue", 0.2)])
    assert np.any(red != blue, axis=(0, 2))[-300:].any()


@pytest.mark.parametrize("title", ["is it $5 or $\\x?", "$\\x$" + "x" * 500])
def test_any_text_can_be_a_title_and_an_answer(tmp_path, title):
    answers = [("$\\x$ or $5", 0.7), ("$^$", 0.1)]
    pixels = drawn(tmp_path / "plot.png", on_one_region(0, 0), answers=answers, title=title)
    assert pixels.shape == (432, 1152, 3)


@pytest.mark.parametrize("name", ["plot.jpg", "plot"])
def test_another_kind_of_file_is_refused_by_name(tmp_path, name):
    with pytest.raises(UserError, match=rf"ending in \.png, \.pdf or \.svg, got '{name}'"):
        drawn(tmp_path / name, on_one_region(0, 0))


@pytest.mark.parametrize(("name", "begins"), [("plot.pdf", b"%PDF-"), ("plot.svg", b"<?xml")])
def test_the_suffix_decides_the_format(tmp_path, name, begins):
    attention_over_image(
        GREY, on_one_region(0, 0), ANSWERS, title="what colour is it?", path=tmp_path / name
    )
    assert (tmp_path / name).read_bytes().startswith(begins)


def blue_heights(path) -> np.ndarray:
    """The mean height, in pixels from below, of the first line by column; NaN where it is not."""
    with Image.open(path) as file:
        pixels = np.asarray(file.convert("RGB")).astype(int)[:, : 6 * 120]
    blue = np.abs(pixels - (31, 119, 180)).max(axis=-1) <= 8
    columns = np.nonzero(blue.sum(axis=0))[0]
    return np.array([len(pixels) - np.nonzero(blue[:, column])[0].mean() for column in columns])


def test_a_rising_curve_rises(tmp_path):
    path = tmp_path / "curve.png"
    curves({"loss": [1.0, 2.0, 4.0]}, x_label="step", y_label="loss", title="up", path=path)
    heights = blue_heights(path)
    assert heights[-1] - heights[0] > 100


def test_a_logarithm_makes_a_doubling_straight(tmp_path):
    path = tmp_path / "curve.png"
    values = 2.0 ** np.arange(30)
    curves({"x": values}, x_label="step", y_label="x", title="", path=path, log=True)
    heights = blue_heights(path)
    assert heights[len(heights) // 2] == pytest.approx((heights[0] + heights[-1]) / 2, abs=4)


HISTORY = "epoch,loss,val_loss,val_map\n1,2.0,2.1,0.5\n2,1.0,1.4,0.7\n"


def test_each_metric_of_a_history_has_a_panel(tmp_path):
    (tmp_path / "history.csv").write_text(HISTORY)
    sizes = []
    for metrics in (["loss"], ["loss", "map"]):
        path = tmp_path / f"{len(metrics)}.png"
        learning_curves(tmp_path / "history.csv", metrics=metrics, title="run", path=path)
        with Image.open(path) as file:
            sizes.append(file.size)
    assert sizes[1][0] == 2 * sizes[0][0]


def test_a_metric_that_is_no_column_is_a_users_error(tmp_path):
    (tmp_path / "history.csv").write_text(HISTORY)
    with pytest.raises(UserError, match="out of epoch, loss, val_loss, val_map, got 'accuracy'"):
        learning_curves(
            tmp_path / "history.csv", metrics=["accuracy"], title="", path=tmp_path / "a.png"
        )


def test_a_long_text_makes_more_room_under_its_image(tmp_path):
    heights = []
    for text in ("short", "a text of many words that has to be broken into lines " * 3):
        path = tmp_path / "grid.png"
        images_with_texts([GREY, GREY], [text, "x"], title="grid", path=path, columns=2)
        with Image.open(path) as file:
            heights.append(file.size[1])
    assert heights[1] > heights[0] + 50
