"""Options drawn at random: LSTM and Bidirectional give what Keras gives, or raise where it does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.lstm import layer as fast

BATCH, TIME, DIM = 4, 4, 2
LENGTHS = np.array([4, 2, 0, 1])
RIGHT = np.arange(TIME) < LENGTHS[:, None]
MASKS = [
    *(None, RIGHT, RIGHT[:, ::-1], np.zeros_like(RIGHT), np.ones_like(RIGHT)),
    *(RIGHT ^ RIGHT[::-1], RIGHT[:1], RIGHT[..., None], RIGHT.astype("int32") * 2),
]
OPTIONS = {
    "activation": ["relu", None],
    "recurrent_activation": ["hard_sigmoid"],
    "use_bias": [False],
    "unit_forget_bias": [False],
    "dropout": [0.3, 1.0],
    "recurrent_dropout": [0.3],
    "zero_output_for_mask": [True, False],
    "implementation": [1],
    "use_cudnn": [False, True],
    "kernel_regularizer": ["l2"],
    "kernel_constraint": ["max_norm"],
    "activity_regularizer": ["l1"],
    "dtype": ["mixed_bfloat16", "float64"],
}


def draw(random, shared: dict) -> dict:
    """Options of one layer, most of them the default."""
    drawn = {name: random.choice(values) for name, values in OPTIONS.items()
             if random.random() < 0.08}  # fmt: skip
    drawn = {name: getattr(value, "item", lambda value=value: value)()
             for name, value in drawn.items()}  # fmt: skip
    return {"units": int(random.choice([1, 3, 16])), "seed": 1, **drawn, **shared}


def make(kind, draws: dict, seed: int):
    """The layer of this draw; `kind` is a module with both classes."""
    keras.utils.set_random_seed(seed)
    layers = []
    for options in draws["layers"]:
        if kind is keras.layers:  # ours has this default
            options = {"zero_output_for_mask": options["return_sequences"], **options}
        layers.append(kind.LSTM(**options))
    layer = layers[0]
    if draws["merge"] is not False:
        other = layers[1] if len(layers) == 2 else None
        layer = kind.Bidirectional(
            layer, merge_mode=draws["merge"], backward_layer=other, dtype=draws["dtype"]
        )
    layer.build((BATCH, TIME, DIM))
    return layer


def results_of(layer, draws: dict, seed: int) -> list:
    """Outputs, those of a second call, and gradients at the weights; the loss has all parts."""
    random = np.random.default_rng(seed)
    layer.set_weights([random.normal(size=weight.shape) / 2 for weight in layer.get_weights()])
    values = tf.constant(random.normal(size=(BATCH, TIME, DIM)), tf.float32)
    mask = None if draws["mask"] is None else tf.constant(draws["mask"])
    sizes = [options["units"] for options in draws["layers"] for _ in range(2)]
    if draws["merge"] is not False and len(sizes) == 2:
        sizes = 2 * sizes
    states = [tf.constant(random.normal(size=(BATCH, size)), tf.float32) for size in sizes]
    weights = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(weights)
        outputs = []
        for state in (states if draws["states"] else None, None):
            results = layer(values, mask=mask, initial_state=state, training=draws["training"])
            outputs += [tf.cast(output, tf.float32) for output in tf.nest.flatten(results)]
        losses = [tf.cast(loss, tf.float32) for loss in layer.losses]
        total = tf.add_n([tf.reduce_sum(output**2) for output in outputs] + losses)
    return [*outputs, *tape.gradient(total, weights, unconnected_gradients="zero")]


@pytest.mark.parametrize("seed", range(42))
def test_any_options_give_what_keras_gives(seed):
    random = np.random.default_rng(seed)
    shared = {
        "return_sequences": bool(random.integers(2)),
        "return_state": bool(random.integers(2)),
        "stateful": bool(random.random() < 0.1),
    }
    wraps, own, back = seed % 3 > 0, seed % 3 == 2, bool(random.integers(2))
    first = draw(random, {**shared, "go_backwards": back and (own or not wraps)})
    second = {**first, **draw(random, {}), **shared, "go_backwards": not back}
    draws = {
        "layers": [first, second] if own else [first],
        "merge": [False, "concat", "sum", "mul", "ave", None][random.integers(1, 6) * wraps],
        "dtype": "mixed_bfloat16" if random.random() < 0.1 else None,
        "mask": MASKS[random.integers(len(MASKS))],
        "states": bool(random.integers(2)),
        "training": bool(random.integers(2)),
    }
    results = []
    for kind in (fast, keras.layers):
        try:
            results.append(results_of(make(kind, draws, seed), draws, seed))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            results.append(type(error))
    if isinstance(results[1], type):
        assert isinstance(results[0], type), draws  # Keras refuses it, and so do we
        return
    assert isinstance(results[0], list), (results[0], draws)
    tolerance = 0.1 if "bfloat16" in str(draws) else 1e-4
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(
            tf.cast(got, tf.float32), tf.cast(expected, tf.float32),
            rtol=tolerance, atol=tolerance, err_msg=str(draws),
        )  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
@pytest.mark.parametrize("merge", ["concat", None])
def test_a_backward_layer_of_its_own(merge, backwards, training, tmp_path):
    """Directions swapped, other units; in a model, saved and cloned."""
    units = (3, 5)
    layers = [
        fast.LSTM(size, return_sequences=True, return_state=True, go_backwards=back)
        for size, back in zip(units, (backwards, not backwards), strict=True)
    ]
    layer = fast.Bidirectional(layers[0], merge_mode=merge, backward_layer=layers[1])
    inputs, mask = keras.Input((None, DIM)), keras.Input((None,), dtype="bool")
    model = keras.Model([inputs, mask], layer(inputs, mask=mask))
    model.save(tmp_path / "model.keras")
    copies = [keras.saving.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)]
    copies[1].set_weights(model.get_weights())
    theirs = keras.layers.Bidirectional.from_config(layer.get_config())
    theirs.build((None, None, DIM))
    theirs.set_weights(layer.get_weights())
    values = np.random.default_rng(1).normal(size=(BATCH, TIME, DIM)).astype("float32")
    expected = tf.nest.flatten(theirs(values, mask=tf.constant(RIGHT), training=training))
    for each in (model, *copies):
        got = tf.nest.flatten(each([values, RIGHT], training=training))
        for output, symbolic, other in zip(got, model.outputs, expected, strict=True):
            assert output.shape[-1] == symbolic.shape[-1]
            np.testing.assert_allclose(output, other, rtol=1e-5, atol=1e-6)


def test_a_mask_of_another_length_is_refused():
    layer = fast.LSTM(3)
    with pytest.raises(ValueError, match="incompatible"):
        layer(np.zeros((BATCH, TIME, DIM), "float32"), mask=tf.ones((BATCH, TIME - 1), tf.bool))
