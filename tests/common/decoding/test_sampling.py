"""Facts about sampling, scoring and their rules, against NumPy and counted draws."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from common.decoding import sampling
from common.export import saved_model

VOCAB, STEPS = 5, 6
PAD, START, END = 0, 1, 4
RULES = {"start_id": START, "end_id": END, "max_steps": STEPS, "pad_id": PAD}
TABLE = np.random.default_rng(0).dirichlet(np.ones(VOCAB), size=(7, VOCAB)).astype("float32")


def step(last, tables):
    """Probabilities by the last token, in a table of each row; attends to the last token."""
    probabilities = tf.gather(tables, last, batch_dims=1)
    return tf.math.log(probabilities), tables, tf.one_hot(last, VOCAB)


def compiled(decode, **options):
    @tf.function(input_signature=[tf.TensorSpec([None, VOCAB, VOCAB])], autograph=False)
    def run(tables):
        return decode(step, tables, **{**RULES, **options})

    return run


GREEDY = compiled(sampling.sample, seed=[1, 2], top_k=1)


def written(decoded, b, n=0) -> list[int]:
    return decoded.token_ids.numpy()[b, n, : decoded.lengths.numpy()[b, n]].tolist()


def test_the_best_token_alone_is_written_with_top_k_of_one_until_the_end():
    decoded = GREEDY(TABLE)
    for b, table in enumerate(TABLE):
        tokens, last, score = [], START, 0.0
        while last != END:
            forced = len(tokens) == STEPS - 1
            last, before = END if forced else int(table[last].argmax()), last
            score += np.log(table[before, last])
            tokens.append(last)
        assert written(decoded, b) == tokens
        np.testing.assert_allclose(decoded.scores[b, 0], score, rtol=1e-5)


def test_lengths_differ_so_that_the_tests_see_padding():
    assert len(set(GREEDY(TABLE).lengths.numpy().ravel())) > 1


def test_the_attention_is_that_of_the_step_that_wrote_the_token_and_zero_after_the_end():
    decoded = GREEDY(TABLE)
    for b in range(len(TABLE)):
        tokens = written(decoded, b)
        expected = np.zeros((decoded.token_ids.shape[2], VOCAB))
        expected[np.arange(len(tokens)), [START, *tokens[:-1]]] = 1
        np.testing.assert_array_equal(decoded.attention[b, 0], expected)


def test_the_time_of_a_batch_is_that_of_its_longest_hypothesis():
    decoded = GREEDY(TABLE)
    assert decoded.token_ids.shape[2] == decoded.attention.shape[2] == decoded.lengths.numpy().max()


def test_without_attention_none_comes_back():
    def blind(last, tables):
        return (*step(last, tables)[:2], None)

    decoded = sampling.sample(blind, tf.constant(TABLE), seed=[1, 2], top_k=1, **RULES)
    assert decoded.attention is None
    np.testing.assert_array_equal(decoded.token_ids, GREEDY(TABLE).token_ids)


def test_the_end_comes_neither_too_early_nor_too_late():
    ending = np.full((1, VOCAB, VOCAB), 0.01, "float32")
    ending[..., END], ending[..., 2] = 0.6, 0.37
    rules = {"seed": [1, 2], "top_k": 1, **RULES}
    decoded = sampling.sample(step, tf.constant(ending), **rules, min_steps=3)
    assert written(decoded, 0) == [2, 2, 2, END]
    endless = ending[..., [0, 1, END, 3, 2]]
    decoded = sampling.sample(step, tf.constant(endless), **{**rules, "max_steps": 3})
    assert written(decoded, 0) == [2, 2, END]


def test_forbidden_tokens_are_not_drawn():
    draw = compiled(sampling.sample, seed=[3, 4], num_results=200, forbidden_ids=(PAD, START))
    decoded = draw(TABLE)
    drawn = {token for b, n in np.ndindex(7, 200) for token in written(decoded, b, n)}
    assert drawn == {2, 3, END}


def test_where_the_rules_leave_no_hypothesis_there_is_none():
    rules = {**RULES, "min_steps": 4, "forbidden_ids": (PAD, START, 2, 3)}
    for options in ({}, {"top_k": 2}):
        decoded = sampling.sample(step, tf.constant(TABLE), seed=[1, 2], **rules, **options)
        assert (decoded.lengths.numpy() == 0).all()
        assert (decoded.scores.numpy() == -np.inf).all()


# Sampling

DRAWS = 20_000
FIRST = np.array([0.1, 0.05, 0.4, 0.25, 0.2])


def first_tokens(**options) -> np.ndarray:
    """How often each token is the first of DRAWS hypotheses."""
    table = tf.constant(np.tile(FIRST, (1, VOCAB, 1)), tf.float32)
    options = {"seed": [5, 6], "num_results": DRAWS, **RULES, "max_steps": 2, **options}
    decoded = sampling.sample(step, table, **options)
    return np.bincount(decoded.token_ids[0, :, 0].numpy(), minlength=VOCAB)


def assert_drawn_from(probabilities, counts) -> None:
    possible = probabilities > 0
    assert counts[~possible].sum() == 0
    expected = probabilities[possible] / probabilities.sum() * DRAWS
    assert stats.chisquare(counts[possible], expected).pvalue > 0.01


@pytest.mark.parametrize(
    ("options", "probabilities"),
    [
        ({}, FIRST),
        ({"temperature": 0.5}, FIRST**2),
        ({"temperature": 2.0}, FIRST**0.5),
        ({"top_k": 2}, FIRST * [0, 0, 1, 1, 0]),
        ({"top_k": 99}, FIRST),
        ({"top_p": 0.6}, FIRST * [0, 0, 1, 1, 0]),
        ({"top_p": 0.7}, FIRST * [0, 0, 1, 1, 1]),
        ({"top_k": 3, "top_p": 0.75}, FIRST * [0, 0, 1, 1, 0]),
        ({"temperature": 0.5, "top_p": 0.8}, FIRST**2 * [0, 0, 1, 1, 0]),
        ({"forbidden_ids": (2,)}, FIRST * [1, 1, 0, 1, 1]),
    ],
    ids=str,
)
def test_draws_follow_the_distribution(options, probabilities):
    assert_drawn_from(probabilities, first_tokens(**options))


def test_equal_probabilities_do_not_widen_the_nucleus():
    table = tf.constant(np.full((1, VOCAB, VOCAB), 1 / VOCAB, "float32"))
    options = {"seed": [1, 2], "num_results": 500, "top_p": 0.35, **RULES, "max_steps": 2}
    decoded = sampling.sample(step, table, **options)
    assert set(decoded.token_ids[0, :, 0].numpy()) == {0, 1}


def test_the_smallest_nucleus_is_greedy():
    drawn = compiled(sampling.sample, seed=[1, 2], top_p=1e-6)(TABLE)
    np.testing.assert_array_equal(drawn.token_ids, GREEDY(TABLE).token_ids)


def test_later_tokens_follow_the_token_before():
    rules = {**RULES, "max_steps": 3, "min_steps": 2}
    decoded = sampling.sample(step, tf.constant(TABLE[:1]), seed=[7, 8], num_results=DRAWS, **rules)
    tokens = decoded.token_ids[0].numpy()
    after_two = tokens[tokens[:, 0] == 2, 1]
    shares = TABLE[0, 2, :END].astype("float64")  # the test compares the sums closely
    expected = shares / shares.sum() * len(after_two)
    assert stats.chisquare(np.bincount(after_two, minlength=END), expected).pvalue > 0.01


def test_scores_are_log_probabilities_of_the_model_whatever_the_temperature():
    draw = compiled(sampling.sample, seed=[1, 2], num_results=3, temperature=3.0, top_k=4)
    decoded = draw(TABLE)
    for b, n in np.ndindex(7, 3):
        tokens = written(decoded, b, n)
        pairs = zip([START, *tokens], tokens, strict=False)
        expected = sum(np.log(TABLE[b, last, token]) for last, token in pairs)
        np.testing.assert_allclose(decoded.scores[b, n], expected, rtol=1e-5)


def test_a_seed_fixes_the_draws_and_another_changes_them():
    first, again, other = (
        sampling.sample(step, tf.constant(TABLE), seed=seed, num_results=20, **RULES)
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(first.token_ids, again.token_ids)
    assert first.lengths.numpy().tolist() != other.lengths.numpy().tolist()


def test_examples_of_a_batch_are_drawn_apart():
    same = tf.constant(np.tile(TABLE[:1], (2, 1, 1)))
    decoded = sampling.sample(step, same, seed=[1, 2], num_results=20, **RULES)
    assert decoded.lengths[0].numpy().tolist() != decoded.lengths[1].numpy().tolist()


class Exported(tf.Module):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, VOCAB, VOCAB], name="tables"),
            tf.TensorSpec([2], tf.int32, name="seed"),
        ],
        autograph=False,
    )
    def __call__(self, tables, seed):
        drawn = sampling.sample(step, tables, seed=seed, num_results=3, top_p=0.9, **RULES)
        spread = sampling.spread_sample(step, tables, num_results=3, **RULES)
        return {"drawn": drawn.token_ids, "along": drawn.attention, "spread": spread.token_ids}


def hypotheses(table, last=START, before=(), probability=1.0):
    """All of them in the order of their ids, with their probabilities; token 2 is forbidden."""
    allowed = [END] if len(before) == STEPS - 1 else [0, 1, 3, END]
    total = table[last, allowed].sum()
    for token in allowed:
        here = probability * table[last, token] / total
        if token == END:
            yield (*before, token), here
        else:
            yield from hypotheses(table, token, (*before, token), here)


def test_evenly_spread_draws_are_those_at_the_middles_of_equal_parts():
    count = 40
    spread = compiled(sampling.spread_sample, num_results=count, forbidden_ids=(2,))
    decoded = spread(TABLE)
    for b, table in enumerate(TABLE):
        every, probabilities = zip(*hypotheses(table.astype("float64")), strict=True)
        middles = (np.arange(count) + 0.5) / count
        places = np.searchsorted(np.cumsum(probabilities), middles)
        drawn = [tuple(written(decoded, b, n)) for n in range(count)]
        assert drawn == [every[place] for place in places]
        assert len(set(drawn)) > 5


def test_a_saved_model_decodes_as_python_does(tmp_path):
    tf.saved_model.save(Exported(), str(tmp_path))
    assert saved_model.unportable_operations(tmp_path) == set()
    loaded = tf.saved_model.load(str(tmp_path))
    for batch in (1, 7):
        tables, seed = tf.constant(TABLE[:batch]), tf.constant([1, 2])
        drawn = sampling.sample(step, tables, seed=seed, num_results=3, top_p=0.9, **RULES)
        spread = sampling.spread_sample(step, tables, num_results=3, **RULES)
        outputs = loaded(tables, seed)
        np.testing.assert_array_equal(outputs["spread"], spread.token_ids)
        np.testing.assert_array_equal(outputs["drawn"], drawn.token_ids)
        np.testing.assert_array_equal(outputs["along"], drawn.attention)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_steps": STEPS}, "min_steps < max_steps"),
        ({"forbidden_ids": (END,)}, "end token"),
        ({"temperature": 0.0}, "temperature > 0"),
        ({"top_p": 0.0}, "top_p <= 1"),
        ({"top_k": -1}, "top_k >= 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sampling.sample(step, tf.constant(TABLE), seed=[1, 2], **{**RULES, **options})
