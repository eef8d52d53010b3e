"""Facts about beam search, against a search through all hypotheses."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.decoding import beam_search as module
from common.decoding.beam_search import beam_search
from common.export import saved_model

VOCAB, STEPS, POSITIONS = 4, 4, 3
BATCH = 2
PAD, START, END = 0, 1, 3
RULES = {"start_id": START, "end_id": END, "max_steps": STEPS, "pad_id": PAD}
WHOLE = (VOCAB - 1) ** (STEPS - 1) * VOCAB  # nothing falls out of a beam of this width


def random_model(seed: int, batch: int = BATCH) -> dict:
    """What follows depends on the last token and on the state; so does the attention."""
    random = np.random.default_rng(seed)

    def draw(*shape):
        return random.normal(size=(batch, *shape), scale=1.5).astype("float32")

    return {
        "hidden": draw(2),
        "to_state": draw(VOCAB, 2),
        "to_vocab": draw(2, VOCAB),
        "table": draw(VOCAB, VOCAB),
        "to_attention": draw(2, POSITIONS),
    }


def step(last, model):
    """Every table is a state here, so that each row finds its own after the beams moved."""
    entering = tf.gather(model["to_state"], last, batch_dims=1)
    hidden = tf.tanh(model["hidden"] + entering)
    logits = tf.einsum("rh,rhv->rv", hidden, model["to_vocab"])
    logits += tf.gather(model["table"], last, batch_dims=1)
    attention = tf.nn.softmax(tf.einsum("rh,rhp->rp", hidden, model["to_attention"]))
    return tf.nn.log_softmax(logits), {**model, "hidden": hidden}, attention


def log_softmax(values):
    return values - np.log(np.exp(values - values.max()).sum()) - values.max()


def follow(model: dict, b: int, tokens) -> tuple[float, np.ndarray]:
    """Log-probability and attention of one hypothesis, in float64."""
    table = {name: part[b].astype("float64") for name, part in model.items()}
    hidden, last, total, attention = table["hidden"], START, 0.0, []
    for token in tokens:
        hidden = np.tanh(hidden + table["to_state"][last])
        total += log_softmax(hidden @ table["to_vocab"] + table["table"][last])[token]
        attention.append(np.exp(log_softmax(hidden @ table["to_attention"])))
        last = token
    return total, np.array(attention)


def brute_force(model, b, *, length_penalty, min_steps=0):
    """(score, tokens) of all hypotheses, best first."""
    hypotheses = []
    words = [token for token in range(VOCAB) if token != END]
    for length in range(min_steps, STEPS):
        for beginning in itertools.product(words, repeat=length):
            tokens = (*beginning, END)
            total, _ = follow(model, b, tokens)
            hypotheses.append((total / ((5 + len(tokens)) / 6) ** length_penalty, tokens))
    return sorted(hypotheses, reverse=True)


CASES = {
    "log-probability": {"length_penalty": 0.0},
    "length penalty": {"length_penalty": 0.9},
    "least length": {"length_penalty": 1.0, "min_steps": 3},
}


def spec(model: dict) -> dict:
    return {name: tf.TensorSpec([None, *part.shape[1:]]) for name, part in model.items()}


def compiled(**options):
    """The search as one graph with a free batch size."""

    @tf.function(input_signature=[spec(random_model(0))], autograph=False)
    def search(model):
        return beam_search(step, model, **{**RULES, **options})

    return search


WIDE = {name: compiled(width=WHOLE, num_results=3, **options) for name, options in CASES.items()}
NARROW = compiled(width=2, length_penalty=0.6)


@pytest.mark.parametrize("case", CASES)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_beam_that_holds_everything_finds_the_best_of_all_hypotheses(case, seed):
    model = random_model(seed)
    decoded = WIDE[case](model)
    for b in range(BATCH):
        expected = brute_force(model, b, **CASES[case])[:3]
        np.testing.assert_allclose(
            decoded.scores[b, : len(expected)], [score for score, _ in expected], rtol=1e-4
        )
        for n, (_, tokens) in enumerate(expected):
            # The ids follow from the scores but where two scores are as good as equal.
            written = tuple(decoded.token_ids[b, n, : decoded.lengths[b, n]].numpy())
            assert written == tokens or math.isclose(
                *(follow(model, b, ids)[0] for ids in (written, tokens)), rel_tol=1e-3
            )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_attention_belongs_to_the_hypothesis_it_stands_beside(seed):
    model = random_model(seed)
    decoded = NARROW(model)
    for b, n in np.ndindex(2, 2):
        length = decoded.lengths[b, n]
        tokens = decoded.token_ids[b, n].numpy()
        total, attention = follow(model, b, tokens[:length])
        np.testing.assert_allclose(decoded.attention[b, n, :length], attention, rtol=1e-4)
        assert np.abs(decoded.attention[b, n, length:]).sum() == 0
        score = total / ((5 + length.numpy()) / 6) ** 0.6
        np.testing.assert_allclose(decoded.scores[b, n], score, rtol=1e-4)
        assert (tokens[length:] == PAD).all()


FIRST = VOCAB  # starts a chain, and is never written
LOOKS = np.eye(FIRST + 1, dtype="float32")


def chain(follows: dict, **options):
    """Searches where the next token and the attention depend on the last token alone."""
    table = np.full((FIRST + 1, VOCAB), 1e-6, "float32")
    for last, probabilities in follows.items():
        for token, probability in probabilities.items():
            table[last, token] = probability

    def markov(last, state):
        return tf.math.log(tf.gather(table, last)), state, tf.gather(LOOKS, last)

    return beam_search(markov, [tf.zeros([1, 1])], **{**RULES, "start_id": FIRST, **options})


def test_the_attention_follows_a_path_that_overtakes_another():
    # 0 leads after one step; all that is good comes after 2, whose continuation moves to slot 0.
    decoded = chain(
        {FIRST: {0: 0.6, 2: 0.4}, 0: {0: 0.3, 1: 0.3, 2: 0.3}, 2: {1: 0.9}, 1: {END: 0.9}},
        width=2,
        length_penalty=0.0,
    )
    assert decoded.token_ids[0, 0].numpy().tolist()[:3] == [2, 1, END]
    assert tf.argmax(decoded.attention[0, 0, :3], axis=1).numpy().tolist() == [FIRST, 2, 1]


def test_it_stops_at_the_end_token():
    steps = []

    def ends_at_once(last, state):
        tf.py_function(lambda: steps.append(1), [], [])
        return tf.math.log([[1e-6, 1e-6, 1e-6, 0.999]] * 3), state, None

    decoded = beam_search(ends_at_once, [tf.zeros([1, 1])], width=3, num_results=1, **RULES)
    assert (decoded.token_ids.numpy().tolist(), len(steps)) == ([[[END]]], 1)
    assert decoded.attention is None


def test_a_longer_hypothesis_wins_only_by_the_length_penalty():
    follows = {FIRST: {END: 0.5, 2: 0.5}, 2: {0: 0.9}, 0: {1: 0.9}, 1: {END: 0.9}}
    short, long = (chain(follows, width=2, length_penalty=alpha) for alpha in (0.0, 1.0))
    assert short.token_ids[0, 0].numpy().tolist()[:2] == [END, PAD]
    assert long.token_ids[0, 0].numpy().tolist() == [2, 0, 1, END]


def test_it_goes_on_while_a_longer_hypothesis_can_still_win_by_its_length():
    follows = {FIRST: {END: 0.4, 2: 0.3, 0: 0.15}, 2: {0: 0.999}, 0: {1: 0.999}, 1: {END: 0.999}}
    decoded = chain(follows, width=2, num_results=1, length_penalty=1.0)
    assert decoded.token_ids[0, 0].numpy().tolist() == [2, 0, 1, END]


def test_at_the_greatest_length_the_end_token_is_forced():
    decoded = chain({FIRST: {0: 0.99}, 0: {0: 0.99}}, width=1)
    assert decoded.token_ids[0, 0].numpy().tolist() == [0, 0, 0, END]
    expected = (3 * math.log(0.99) + math.log(1e-6)) / (9 / 6) ** 0.6
    np.testing.assert_allclose(decoded.scores[0, 0], expected, rtol=1e-5)


def test_forbidden_tokens_are_never_written_and_places_without_a_hypothesis_are_empty():
    search = compiled(width=8, num_results=5, forbidden_ids=(PAD, START))
    decoded = search(random_model(1))
    for b in range(2):  # 0 to 3 times the one word that is left, then the end
        hypotheses = [tuple(ids) for ids in decoded.token_ids[b].numpy()]
        assert set(hypotheses) == {(END, PAD, PAD, PAD), (2, END, PAD, PAD), (2, 2, END, PAD)} | {
            (2, 2, 2, END),
            (PAD, PAD, PAD, PAD),
        }
        assert decoded.lengths[b, -1] == 0 and decoded.scores[b, -1] == -np.inf


def test_width_one_is_greedy():
    model = random_model(7, batch=40)
    decoded = compiled(width=1, length_penalty=0.0)(model)
    for b in range(40):
        tokens = []
        while END not in tokens:
            totals = [follow(model, b, [*tokens, token])[0] for token in range(VOCAB)]
            tokens.append(END if len(tokens) == STEPS - 1 else int(np.argmax(totals)))
        assert decoded.token_ids[b, 0, : decoded.lengths[b, 0]].numpy().tolist() == tokens
        np.testing.assert_allclose(decoded.scores[b, 0], follow(model, b, tokens)[0], rtol=1e-4)


def test_a_batch_of_eight_is_eight_single_runs():
    model = random_model(3, batch=8)
    together = NARROW(model)
    for b in range(8):
        alone = NARROW({name: part[b : b + 1] for name, part in model.items()})
        time = alone.token_ids.shape[2]
        np.testing.assert_array_equal(together.lengths[b], alone.lengths[0])
        np.testing.assert_array_equal(together.token_ids[b, :, :time], alone.token_ids[0])
        np.testing.assert_allclose(together.scores[b], alone.scores[0], rtol=1e-6)
        np.testing.assert_allclose(
            together.attention[b, :, :time], alone.attention[0], rtol=1e-5, atol=1e-7
        )


def test_the_early_stop_changes_no_result(monkeypatch):
    # One by one, as in a batch nothing stops before the slowest.
    options = {"width": 3, "num_results": 2, "length_penalty": 1.0}
    model = {name: tf.constant(part) for name, part in random_model(6, batch=50).items()}
    search = compiled(**options)
    early = [search({name: part[b : b + 1] for name, part in model.items()}) for b in range(50)]
    monkeypatch.setattr(module, "_bound", lambda log_probs, *_: tf.zeros_like(log_probs))
    late = compiled(**options)(model)
    np.testing.assert_allclose([decoded.scores[0] for decoded in early], late.scores, rtol=1e-5)


class Exported(tf.Module):
    @tf.function(input_signature=[spec(random_model(0))], autograph=False)
    def __call__(self, model):
        return beam_search(step, model, width=3, **RULES)._asdict()


def test_a_saved_model_decodes_as_python_does(tmp_path):
    tf.saved_model.save(Exported(), str(tmp_path))
    assert saved_model.unportable_operations(tmp_path) == set()
    loaded = tf.saved_model.load(str(tmp_path))
    for batch in (1, 3):
        model = {n: tf.constant(part) for n, part in random_model(5, batch=batch).items()}
        expected = beam_search(step, model, width=3, **RULES)
        for name, value in loaded(model).items():
            np.testing.assert_allclose(value, getattr(expected, name), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width >= 1"),
        ({"width": 1, "length_penalty": -0.1}, "length_penalty >= 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        beam_search(step, random_model(0), **RULES, **options)
