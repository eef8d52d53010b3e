"""The decoders: one step and a sentence agree, padding counts for nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.image_captioning.captioning.decoder import DECODERS
from apps.image_captioning.config import ModelConfig
from apps.image_captioning.model import build_model
from common.decoding import sampling
from common.layers import recurrent
from common.training import fit

IMAGES, CAPTIONS, TIME, VOCAB = 2, 3, 4, 11
GENERATOR = np.random.default_rng(0)
GRID = GENERATOR.normal(size=(IMAGES, 2, 3, 8)).astype("float32")
TOKEN_IDS = GENERATOR.integers(4, VOCAB, (IMAGES, CAPTIONS, TIME)).astype("int32")
MASK = np.arange(TIME) < np.array([[4, 2, 1], [3, 4, 0]])[..., None]


@pytest.fixture(params=sorted(DECODERS), scope="module")
def decoder(request):
    return make(request.param)


def make(kind: str, **options):
    keras.utils.set_random_seed(1)
    sizes = {"region_dim": 6, "word_dim": 5, "units": 7, "attention_units": 4}
    decoder = DECODERS[kind](VOCAB, **sizes, **options)
    decoder(GRID, TOKEN_IDS, MASK)
    for weight in decoder.weights:
        weight.assign(weight + 0.3 * GENERATOR.normal(size=weight.shape))
    return decoder


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def test_a_sentence_step_by_step_gives_the_same_as_at_once(decoder):
    memory, states = decoder.start(GRID)
    states, _ = sampling.tile(states, CAPTIONS)
    steps = []
    for t in range(TIME):
        log_probs, states, attention = decoder.step(TOKEN_IDS[..., t].ravel(), states, memory)
        np.testing.assert_allclose(tf.reduce_sum(attention, axis=-1), 1, rtol=1e-5)
        steps.append(log_probs)
    by_step = tf.boolean_mask(tf.stack(steps, axis=1), MASK.reshape(-1, TIME))
    at_once = tf.nn.log_softmax(decoder(GRID, TOKEN_IDS, MASK))
    np.testing.assert_allclose(by_step, at_once, rtol=1e-5, atol=1e-5)


def test_padding_of_time_and_of_captions_changes_nothing(decoder):
    ids = np.pad(TOKEN_IDS, [(0, 0), (0, 2), (0, 3)], constant_values=7)
    mask = np.pad(MASK, [(0, 0), (0, 2), (0, 3)])
    logits = decoder(GRID, TOKEN_IDS, MASK)
    assert logits.shape == (MASK.sum(), VOCAB)
    np.testing.assert_allclose(decoder(GRID, ids, mask), logits, rtol=1e-5, atol=1e-5)


def test_every_weight_gets_a_gradient(decoder):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(decoder(GRID, TOKEN_IDS, MASK, training=True)))
    for weight, gradient in zip(
        decoder.trainable_weights,
        tape.gradient(loss, [weight.value for weight in decoder.trainable_weights]),
        strict=True,
    ):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path


def test_soft_attention_is_that_of_the_paper():
    decoder = make("soft_attention")
    weight = {w.path.split("/", 1)[1]: w.numpy() for w in decoder.weights}
    regions = np.maximum(
        GRID.reshape(IMAGES, 6, 8) @ weight["project/kernel"] + weight["project/bias"], 0
    )
    regions = regions + weight["places"]
    first = np.tanh(regions.mean(1) @ weight["first/kernel"] + weight["first/bias"])
    hidden, cell = np.split(first, 2, axis=-1)
    word = weight["embed/embeddings"][TOKEN_IDS[:, 0, 0]]
    energy = np.tanh(
        (hidden @ weight["query/kernel"])[:, None]
        + regions @ weight["key/kernel"]
        + weight["key/bias"]
    )
    scores = (energy @ weight["score/kernel"])[..., 0]
    alpha = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    beta = sigmoid(hidden @ weight["gate/kernel"] + weight["gate/bias"])
    context = beta * np.einsum("br,brd->bd", alpha, regions)
    sums = (
        word @ weight["lstm/kernel"]
        + weight["lstm/bias"]
        + hidden @ weight["lstm/recurrent_kernel"]
    )
    in_gate, forget, candidate, out = np.split(sums + context @ weight["see/kernel"], 4, axis=-1)
    cell = sigmoid(forget) * cell + sigmoid(in_gate) * np.tanh(candidate)
    hidden = sigmoid(out) * np.tanh(cell)
    deep = np.concatenate([hidden, context], -1) @ weight["deep/kernel"] + weight["deep/bias"]
    logits = np.tanh(deep + word) @ weight["embed/reverse_embeddings"]

    memory, states = decoder.start(GRID)
    log_probs, _, attention = decoder.step(TOKEN_IDS[:, 0, 0], states, memory)
    np.testing.assert_allclose(attention, alpha, rtol=1e-4, atol=1e-5)
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(log_probs, expected, rtol=1e-4, atol=1e-4)


def test_the_doubly_stochastic_term_is_that_of_the_paper():
    decoder = make("show_and_tell", coverage=2.0)  # it looks at all six regions alike
    decoder(GRID, TOKEN_IDS, MASK, training=True)
    lengths = MASK.sum(-1)[MASK.any(-1)]
    expected = 2.0 * np.mean([6 * (1 - length / 6) ** 2 for length in lengths])
    np.testing.assert_allclose(float(decoder.losses[0]), expected, rtol=1e-5)


def small_model(**options) -> keras.Model:
    encoder = keras.Model(pixels := keras.Input((4, 6, 3)), keras.layers.Conv2D(8, 2, 2)(pixels))
    sizes = {"region_dim": 6, "word_dim": 5, "units": 7, "attention_units": 4}
    return build_model(ModelConfig(**sizes, **options), VOCAB, encoder)


def test_half_precision_leaves_the_decoder_as_it_is():
    with fit.dtype_policy("bfloat16"):
        model = small_model()
    logits = model({"grid": GRID, "token_ids": TOKEN_IDS, "token_mask": MASK})
    decoder = model.get_layer("decoder")
    assert logits.dtype == "float32"
    np.testing.assert_array_equal(logits, decoder(GRID.astype("float16"), TOKEN_IDS, MASK))
    memory, states = decoder.start(GRID)
    assert decoder.step(TOKEN_IDS[:, 0, 0], states, memory)[0].dtype == "float32"


def test_what_computes_the_decoder_is_named():
    kernels = recurrent.kernels(small_model())
    assert list(kernels.values()) == ["TensorFlow loop of the decoder"]
    (path,) = recurrent.kernels(small_model(decoder="show_and_tell"))
    assert path.endswith("lstm")
