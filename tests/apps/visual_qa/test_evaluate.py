"""Scores against hand-made facts: protocols, blind baselines, types."""

import dataclasses

import pytest
import tensorflow as tf

from apps.visual_qa import config, data, evaluate, train
from common.runs import directory
from common.training import fit


@pytest.fixture(scope="module")
def weights(vqa_run):
    return (vqa_run / "model.keras").read_bytes()


@pytest.fixture(scope="module")
def result(vqa_run, weights):
    return evaluate.evaluate(vqa_run, "test")


def test_the_most_common_answer_scores_its_share(result, vqa_run, cache_dir):
    commonest = (vqa_run / "vocab_answers.txt").read_text().split("\n")[0].encode()
    options = config.DataConfig(cache_dir=cache_dir)
    test = data.load_split(options, "test")
    answers = [answer for record in test for answer in record["answer"].numpy()]
    share = answers.count(commonest) / len(answers)
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


def test_evaluation_leaves_the_weights_alone(result, vqa_run, weights):
    assert (vqa_run / "model.keras").read_bytes() == weights


def test_rare_question_types_are_put_together():
    kinds = [f"kind {number}" for number in range(20)] + ["what is"] * 5
    assert set(evaluate._frequent_types(kinds)) >= {"what is", "other"}
    assert len(set(evaluate._frequent_types(kinds))) == evaluate.MANY_TYPES


def test_every_question_is_a_row_about_its_image(vqa_run, cache_dir):
    run, options = directory.open_run(vqa_run, app=config.APP, config_type=config.Config)
    rows = list(evaluate.answer_questions(run, options, "validation"))
    records = list(data.load_split(options.data, "validation"))
    questions = [(r["image_id"].numpy(), q) for r in records for q in r["question"].numpy()]
    assert [(row.image_id.encode(), row.question.encode()) for row in rows] == questions
    right = [row.choices["model"] == row.answers[0] for row in rows]
    result = evaluate.summarize(rows, data="easy_vqa", split="validation")
    assert sum(right) / len(rows) == pytest.approx(result.metrics["accuracy"], abs=1e-9)
    assert all(0 < row.probability <= 1 for row in rows)


@pytest.fixture
def untrained_run(cache_dir, tmp_path, monkeypatch):
    """Makes a run of a small folder in an official layout, whose networks are not trained.

    It is evaluated without graphs: there are few batches, tracing would take most of the time.
    """

    def save(network, outputs, run, options, *, name, **arguments):
        run.save_model(network, f"{name}.keras")

    def make(name, root, *, model=None, **options):
        source = config.DataConfig(name=name, root=root, cache_dir=cache_dir, **options)
        model = dataclasses.replace(config.TINY.model, **(model or {}))
        train.train(config.Config(model=model, data=source), tmp_path / "run")
        return tmp_path / "run"

    monkeypatch.setattr(fit, "fit", save)
    tf.config.run_functions_eagerly(True)
    yield make
    tf.config.run_functions_eagerly(False)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # tf.data traces
def test_vqa_v2_is_scored_by_the_official_soft_accuracy(vqa_v2, untrained_run):
    run = untrained_run("vqa_v2", vqa_v2, model={"word_vectors": "glove", "word_dim": 50})
    result = evaluate.evaluate(run, "test")
    # Half of the questions have "2" as commonest answer, which seven of ten people gave there and
    # nobody elsewhere; min(7 / 3, 1) = 1.
    assert result.baselines["most_common_answer"]["accuracy"] == pytest.approx(0.5)
    assert set(result.details["accuracy by type"]) == {"number", "other"}


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # tf.data traces
def test_daquar_answers_never_seen_in_training_are_wrong_and_moved_files_are_found(
    daquar, untrained_run, tmp_path
):
    run = untrained_run("daquar", daquar, num_answers=2)
    answers = (run / "vocab_answers.txt").read_text().splitlines()
    assert answers == ["book, scissor", "white"]
    moved = daquar.rename(tmp_path / "moved")
    result = evaluate.evaluate(run, root=moved)
    assert result.details["accuracy by type"]["how many"] == 0.0
    assert result.num_examples % 3 == 0


@pytest.mark.parametrize(("extra", "warns"), [(0, True), (3, True), (12, False)])
def test_an_image_that_does_not_help_is_said_in_a_line(extra, warns):
    """Of 100 questions the rival has 40 right, and the model `extra` more."""
    names = ("model", *evaluate.BLIND)
    rows = [
        evaluate.Answered(
            image_id="",
            question="what?",
            question_type="what",
            answers=("yes",),
            choices=dict.fromkeys(names, "yes" if place < 40 else "no")
            | {"model": "yes" if place < 40 + extra else "no"},
            probability=1.0,
        )
        for place in range(100)
    ]
    notes = evaluate.summarize(rows, data="folder", split="test").notes
    said = [note for note in notes if note.startswith("the image does not help")]
    assert len(said) == warns
    if warns:
        assert f"{extra:+.1f} points" in said[0] and "\n" not in said[0]
