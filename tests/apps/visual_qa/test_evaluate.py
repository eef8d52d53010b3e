"""Scores against hand-made facts: protocols, blind baselines, types."""

import dataclasses

import pytest
import tensorflow as tf

from apps.visual_qa import config, data, evaluate, train


@pytest.fixture(scope="module")
def result(vqa_run):
    return evaluate.evaluate(vqa_run, "test")


def test_the_most_common_answer_scores_its_share(result, vqa_run, cache_dir):
    commonest = (vqa_run / "vocab_answers.txt").read_text().split("\n")[0].encode()
    options = config.DataConfig(cache_dir=cache_dir)
    given = [a for one in data.load_split(options, "test") for a in one["answer"].numpy()]
    share = given.count(commonest) / len(given)
    assert 0.36 < share < 0.38  # "yes" and "no" have about the same
    assert result.baselines["most_common_answer"]["accuracy"] == pytest.approx(share, abs=1e-9)


def test_every_test_question_is_scored(result):
    assert result.num_examples == 9673


def test_the_types_average_to_the_whole(result, cache_dir):
    counts: dict[str, int] = {}
    for record in data.load_split(config.DataConfig(cache_dir=cache_dir), "test"):
        for kind in record["question_type"].numpy():
            counts[kind.decode()] = counts.get(kind.decode(), 0) + 1
    by_type = result.details["accuracy by type"]
    mean = sum(by_type[kind] * count for kind, count in counts.items()) / sum(counts.values())
    assert mean == pytest.approx(result.metrics["accuracy"], abs=1e-9)


def test_the_table_names_every_baseline(result):
    assert all(name in result.as_table() for name in evaluate.BLIND)


def test_evaluation_leaves_the_weights_alone(vqa_run):
    before = (vqa_run / "model.keras").read_bytes()
    evaluate.evaluate(vqa_run, "validation")
    assert (vqa_run / "model.keras").read_bytes() == before


def test_rare_question_types_are_put_together():
    kinds = [f"kind {number}" for number in range(20)] + ["what is"] * 5
    assert set(evaluate._frequent_types(kinds)) >= {"what is", "other"}
    assert len(set(evaluate._frequent_types(kinds))) == evaluate.MANY_TYPES


@pytest.fixture
def train_tiny(cache_dir, tmp_path):
    """Trains one epoch on a small folder in an official layout, and evaluates, without graphs.

    There are few batches: tracing would take most of the time.
    """

    def run(name, root, *, model=None, **options):
        source = config.DataConfig(name=name, root=root, cache_dir=cache_dir, **options)
        epoch = dataclasses.replace(config.TINY.train, epochs=1)
        model = dataclasses.replace(config.TINY.model, **(model or {}))
        train.train(config.Config(model=model, data=source, train=epoch), tmp_path / "run")
        return tmp_path / "run"

    tf.config.run_functions_eagerly(True)
    yield run
    tf.config.run_functions_eagerly(False)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # tf.data traces
def test_vqa_v2_is_scored_by_the_official_soft_accuracy(vqa_v2, train_tiny):
    run = train_tiny("vqa_v2", vqa_v2, model={"word_vectors": "glove", "word_dim": 50})
    result = evaluate.evaluate(run, "test")
    # Half of the questions have "2" as commonest answer, which seven of ten people gave there and
    # nobody elsewhere; min(7 / 3, 1) = 1.
    assert result.baselines["most_common_answer"]["accuracy"] == pytest.approx(0.5)
    assert set(result.details["accuracy by type"]) == {"number", "other"}


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # tf.data traces
def test_daquar_answers_never_seen_in_training_are_wrong_and_moved_files_are_found(
    daquar, train_tiny, tmp_path
):
    run = train_tiny("daquar", daquar, num_answers=2)
    answers = (run / "vocab_answers.txt").read_text().splitlines()
    assert answers == ["book, scissor", "white"]
    moved = daquar.rename(tmp_path / "moved")
    result = evaluate.evaluate(run, root=moved)
    assert result.details["accuracy by type"]["how many"] == 0.0
    assert result.num_examples % 3 == 0
