"""The network: shapes, sizes of the papers, padding, every weight; batches that it is given."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.translation import config, data
from apps.translation.model import build_model
from common.inputs import text
from common.training.losses import StepsCrossEntropy

NUM_PIECES = 300
SMALL = config.TINY.model
NETWORKS = {
    "multiplicative": {},
    "additive": {"attention": "additive", "encoder_layers": 3, "decoder_layers": 2},
    "none": {"attention": "none", "encoder_layers": 2, "decoder_layers": 2},
    "reversed": {"attention": "none", "reverse_source": True},
    "reversed with attention": {"reverse_source": True},
}


def batch(lengths=((5, 3), (2, 6), (4, 1))) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    sizes = [max(side) for side in zip(*lengths, strict=True)]
    ids = [draw.integers(10, NUM_PIECES, (len(lengths), size)).astype("int32") for size in sizes]
    for row, of_row in enumerate(lengths):
        for side, length in zip(ids, of_row, strict=True):
            side[row, length:] = text.PAD
    return {"source_ids": tf.constant(ids[0]), "target_ids": tf.constant(ids[1])}


@pytest.fixture(params=NETWORKS)
def model(request) -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_model(replace(SMALL, **NETWORKS[request.param]), NUM_PIECES)


def test_logits_are_those_of_real_steps_row_by_row(model):
    inputs = batch()
    together = model(inputs).numpy()
    assert together.shape == (3 + 6 + 1, NUM_PIECES)
    alone = [
        model(
            {name: ids[row : row + 1, : n[side]] for side, (name, ids) in enumerate(inputs.items())}
        )
        for row, n in enumerate(((5, 3), (2, 6), (4, 1)))
    ]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_teacher_forcing_is_the_steps_of_decoding(model):
    inputs, network = batch(), model.get_layer("network")
    expected = tf.nn.log_softmax(model(inputs))
    remembered, states = network.start(inputs["source_ids"])
    rows = [[], [], []]
    for step in range(6):
        log_probs, states, _ = network.step(inputs["target_ids"][:, step], states, remembered)
        for row, length in enumerate((3, 6, 1)):
            if step < length:
                rows[row].append(log_probs[row])
    np.testing.assert_allclose(np.concatenate(rows), expected, atol=1e-5)


def gradients(model, inputs):
    target = tf.where(inputs["target_ids"] > 0, inputs["target_ids"], -1)
    with tf.GradientTape() as tape:
        loss = StepsCrossEntropy(0.1)(target, model(inputs, training=True))
    weights = model.trainable_weights
    return dict(
        zip([w.path for w in weights], tape.gradient(loss, [w.value for w in weights]), strict=True)
    )


def test_every_weight_gets_a_gradient(model):
    for path, gradient in gradients(model, batch()).items():
        assert np.any(tf.convert_to_tensor(gradient)), path


def test_gradients_reach_the_bottom_of_sixteen_layers():
    """GNMT's depth, narrow: after some steps of training too."""
    keras.utils.set_random_seed(1)
    deep = replace(config.PAPER.model, piece_dim=16, units=16, dropout=0.0)
    model = build_model(deep, NUM_PIECES)
    names = {
        layer.name for layer in model._flatten_layers() if isinstance(layer, keras.layers.LSTM)
    }
    assert sum(name.startswith("lstm_") for name in names) >= 8
    inputs = batch()
    target = tf.where(inputs["target_ids"] > 0, inputs["target_ids"], -1)
    model.compile(keras.optimizers.Adam(3e-3), StepsCrossEntropy())
    before = [model.train_on_batch(inputs, target) for _ in range(30)]
    assert before[-1] < 0.7 * before[0]
    norms = {
        path: float(tf.norm(tf.convert_to_tensor(g)))
        for path, g in gradients(model, inputs).items()
    }
    kernels = {path: norm for path, norm in norms.items() if path.endswith("recurrent_kernel")}
    assert len(kernels) == 2 + 7 + 8
    assert min(kernels.values()) > 1e-3 * max(kernels.values())


def test_sixteen_pairs_are_learned_by_heart():
    keras.utils.set_random_seed(1)
    model = build_model(SMALL, NUM_PIECES)
    draw = np.random.default_rng(1)
    source, target = (draw.integers(10, 40, (16, 5)).astype("int32") for _ in range(2))
    shifted = np.concatenate([np.full((16, 1), text.START, "int32"), target[:, :-1]], axis=1)
    inputs = {"source_ids": source, "target_ids": shifted}
    model.compile(keras.optimizers.Adam(2e-2), StepsCrossEntropy())
    for _ in range(120):
        model.train_on_batch(inputs, target)
    written = np.argmax(model(inputs), axis=-1)
    assert np.mean(written == target.ravel()) > 0.95


@pytest.fixture(scope="module")
def training_data(cache_dir):
    tiny = replace(config.TINY.data, cache_dir=cache_dir)
    return data.make_training_data(tiny, tokens=500, batch_size=32)


def test_batches_hold_whole_pairs_in_a_budget_of_pieces(training_data):
    languages = [f"<to_{name}>" for name in config.TINY.data.target_languages]
    known = [training_data.pieces.tokens.index(name) for name in languages]
    seen = 0
    for number, batch in enumerate(training_data.batches(seed=1)):
        if number == training_data.num_batches:
            break
        source, target = batch["source_ids"].numpy(), batch["target_ids"].numpy()
        seen += len(source)
        assert len(source) * (max(source.shape[1], target.shape[1]) - 1) <= 500
        assert set(source[:, 0].tolist()) <= set(known)
        assert (target[:, 0] == text.START).all()
        for ids in (source, target):
            assert ((ids == text.END).sum(axis=1) == 1).all()
            ends = np.argmax(ids == text.END, axis=1)
            assert all(
                not row[end + 1 :].any() and row[: end + 1].all()
                for row, end in zip(ids, ends, strict=True)
            )
    assert seen == len(training_data.lengths)


def test_the_target_of_a_step_is_the_next_piece(training_data):
    batch = next(iter(training_data.batches(seed=1)))
    inputs, target = data.as_training(batch, inputs=("source_ids", "target_ids"))
    previous, wanted = inputs["target_ids"].numpy(), target.numpy()
    np.testing.assert_array_equal(previous > 0, wanted >= 0)
    for row, (before, after) in enumerate(zip(previous, wanted, strict=True)):
        real = after[after >= 0]
        assert real[-1] == text.END
        whole = [text.START, *real]
        np.testing.assert_array_equal(batch["target_ids"][row][: len(whole)], whole)
        np.testing.assert_array_equal(before[before > 0], whole[:-1])


def test_pairs_longer_than_the_limit_are_not_trained_on(cache_dir):
    tiny = replace(config.TINY.data, cache_dir=cache_dir, max_pieces=12)
    short = data.make_training_data(tiny, tokens=500, batch_size=32)
    assert 0 < len(short.lengths) < 256 and short.num_left_out == 256 - len(short.lengths)
    assert max(short.lengths) <= 13
    assert f"{short.num_left_out} longer ones left out" in short.summary()
