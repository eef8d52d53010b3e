"""Facts about gradients on their way back, and about clipping."""

import numpy as np
from PIL import Image

from benchmarks import gradient_flow


def test_the_gradient_of_a_simple_network_vanishes_or_explodes(tmp_path):
    left = gradient_flow.draw(tmp_path / "flow.png", lag=60)
    assert left["elman, gain 1"] < 1e-2
    assert left["elman, gain 2"] > 1e2
    assert 0.05 < left["lstm, slow gates, gain 1"] < 1.0
    with Image.open(tmp_path / "flow.png") as file:
        assert file.size == (1200, 456)


def test_a_state_moves_itself_as_far_as_it_is():
    layer = gradient_flow.make_layer("gru", gain=1.0, units=8, seed=3)
    norms = gradient_flow.over_lag(layer, lag=5)
    assert norms.shape == (6,)
    assert norms[0] == 1.0


def test_the_gain_scales_an_orthogonal_matrix():
    layer = gradient_flow.make_layer("elman", gain=2.0, units=8, seed=1)
    weights = layer.cell.recurrent_kernel.numpy()
    np.testing.assert_allclose(weights.T @ weights, 4 * np.eye(8), atol=1e-5)


def test_clipping_saves_a_training_that_explodes():
    options = {"gain": 1.5, "lag": 30, "steps": 60}
    clipped = gradient_flow.train_latch("elman", clip_norm=1.0, **options)
    free = gradient_flow.train_latch("elman", clip_norm=None, **options)
    assert len(clipped.losses) == 60 and np.isfinite(clipped.losses).all()
    assert clipped.norms[0] == free.norms[0] > 1.0  # before clipping
    assert not free.losses[-1] < 1e3
