"""One question with its candidates, and batches of strings through the SavedModel."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection import data, predict
from apps.answer_selection.config import Config
from common.inputs import pipeline
from common.inputs.text import Vocabulary
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

QUESTION = "what is tol in NuSVR"
CANDIDATES = [
    "Tolerance for stopping criterion.",
    "The kernel type to be used in the algorithm.",
    "Größe",
    "n_jobs: 3",
]


@pytest.fixture(scope="module")
def run(tiny_run):
    return tiny_run("answer_selection")


@pytest.fixture(scope="module")
def predictor(run):
    return predict.Predictor.load(run)


@pytest.fixture(scope="module")
def saved(tiny_export):
    return tf.saved_model.load(str(tiny_export("answer_selection")))


def ask(saved, questions, candidates):
    outputs = saved.signatures["serving_default"](
        question=tf.constant(questions, tf.string), candidate=tf.constant(candidates, tf.string)
    )
    return {name: value.numpy() for name, value in outputs.items()}


def scores(predictor, candidates):
    return {row.text: row.score for row in predictor.rank(QUESTION, candidates)}


def test_sentences_come_best_first_with_the_sigmoid_of_their_scores(predictor):
    rows = predictor.rank(QUESTION, CANDIDATES)
    assert sorted(row.text for row in rows) == sorted(CANDIDATES)
    values = np.array([row.score for row in rows])
    assert values.tolist() == sorted(values, reverse=True)
    # Where candidates do not agree.
    assert [row.probability for row in rows] == pytest.approx(1 / (1 + np.exp(-values)), abs=1e-5)


def test_the_saved_model_gives_what_predict_gives(predictor, saved):
    own = scores(predictor, CANDIDATES)
    outputs = ask(saved, [QUESTION] * 4, CANDIDATES)
    np.testing.assert_allclose(outputs["score"], [own[text] for text in CANDIDATES], atol=1e-5)
    shares = [share for _, share in predictor.explain(QUESTION, CANDIDATES[1])]
    np.testing.assert_allclose(outputs["attention"][1, : len(shares)], shares, atol=1e-5)
    np.testing.assert_allclose(outputs["attention"].sum(axis=1), 1.0, atol=1e-4)
    ranked = saved.signatures["rank"](
        question=tf.constant(QUESTION), candidates=tf.constant(CANDIDATES)
    )
    order = ranked["order"].numpy()
    assert [CANDIDATES[place] for place in order] == list(own)
    assert (np.diff(ranked["scores"].numpy()[order]) <= 0).all()


def test_the_words_of_an_explanation_are_those_that_a_person_gave(predictor):
    words = predictor.explain("what is tol", "Number of Instances: 442")
    assert [word for word, _ in words] == ["Number", "of", "Instances:", "442"]
    assert sum(share for _, share in words) == pytest.approx(1, abs=1e-4)


def test_a_batch_is_its_rows_one_by_one(saved):
    questions = ["tol?", QUESTION, "what does the parameter n_jobs of the function do", "kernel"]
    together = ask(saved, questions, CANDIDATES)
    for row in range(4):
        alone = ask(saved, questions[row : row + 1], CANDIDATES[row : row + 1])
        np.testing.assert_allclose(alone["score"][0], together["score"][row], atol=1e-5)


def test_training_reads_the_same_features_as_the_saved_model(run, saved):
    """Scores of a batch from tf.data are the scores of its raw strings."""
    directory = RunDirectory.open(run, app="answer_selection")
    config, model = directory.read_config(Config), directory.load_model()
    words = Vocabulary.load(run / "vocab_words.txt")
    records = data.load_split(config.data, "validation").take(3)
    examples = data.make_examples(records, words, config.data)
    for record, batch in zip(
        records, pipeline.evaluation_batches(examples, batch_size=1), strict=True
    ):
        prepared = model({name: batch[name] for name in model.input}, training=False)
        texts = record["candidates"].numpy().tolist()
        raw = ask(saved, [record["question"].numpy()] * len(texts), texts)
        np.testing.assert_allclose(prepared["score"][0], raw["score"], rtol=1e-4, atol=1e-5)


def test_copies_and_candidates_of_another_call_have_the_same_scores(predictor, monkeypatch):
    expected = scores(predictor, CANDIDATES)
    monkeypatch.setattr(predict, "AT_ONCE", 3)
    rows = predictor.rank(QUESTION, [*CANDIDATES, CANDIDATES[0]])
    assert len(rows) == 5
    assert [row.score for row in rows] == pytest.approx(
        [expected[row.text] for row in rows], abs=1e-5
    )


def test_ten_thousand_words_are_cut(predictor, caplog):
    most = predictor.ranker.max_words["candidate"]
    rows = scores(predictor, ["tol " * 10_000, "tol " * most])
    assert f"reads the first {most} of 10000 words of a candidate" in caplog.text
    assert rows["tol " * 10_000] == pytest.approx(rows["tol " * most], abs=1e-6)


@pytest.mark.parametrize(
    ("question", "candidates", "message"),
    [
        (" ?!", CANDIDATES, "question of at least one word"),
        (QUESTION, ["tol", "..."], "candidate of at least one word"),
        (QUESTION, [], "at least one candidate"),
    ],
)
def test_texts_without_words_are_a_users_error(predictor, question, candidates, message):
    with pytest.raises(UserError, match=message):
        predictor.rank(question, candidates)


@pytest.mark.parametrize("name", ["question", "candidate"])
def test_an_empty_text_in_a_batch_is_named_by_its_row(saved, name):
    texts = {"question": ["a", "b", "c"], "candidate": ["a", "b", "c"]} | {name: ["a", "b", " ?!"]}
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"(?s){name}.*none in row.*\[2\]"):
        ask(saved, texts["question"], texts["candidate"])


def test_a_text_or_a_folder_is_needed_and_not_both(run, tmp_path):
    for sources in ({}, {"passages": tmp_path / "a.txt", "corpus": tmp_path}):
        with pytest.raises(UserError, match="expected either --passages FILE or --corpus DIR"):
            predict.main(run_dir=run, question="who?", **sources)


def test_a_folder_of_texts_is_searched_and_each_sentence_names_its_file(
    run, predictor, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(predict.Predictor, "load", lambda _: predictor)
    (tmp_path / "one.txt").write_text("The tolerance is small. Apples are red.")
    (tmp_path / "two.md").write_text("A kernel has a tolerance, too.")
    predict.main(run_dir=run, question="how small is the tolerance?", corpus=tmp_path, json=True)
    rows = json.loads(capsys.readouterr().out)["sentences"]
    assert {row["text"]: Path(row["path"]).name for row in rows} == {
        "The tolerance is small.": "one.txt",
        "A kernel has a tolerance, too.": "two.md",
    }
