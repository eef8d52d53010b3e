"""One question with a text, and batches of strings through the SavedModel."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection import data, predict
from apps.answer_selection.config import Config
from apps.answer_selection.ranking import retrieval
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
    found = saved.signatures["serving_default"](
        question=tf.constant(questions, tf.string), candidate=tf.constant(candidates, tf.string)
    )
    return {name: value.numpy() for name, value in found.items()}


def scores(predictor, candidates, question=QUESTION):
    return {one.text: one.score for one in predictor.rank(question, candidates).sentences}


def test_sentences_come_best_first(predictor):
    sentences = predictor.rank(QUESTION, CANDIDATES).sentences
    assert sorted(one.text for one in sentences) == sorted(CANDIDATES)
    found = [one.score for one in sentences]
    assert found == sorted(found, reverse=True)


def test_the_saved_model_gives_what_predict_gives(predictor, saved):
    here = scores(predictor, CANDIDATES)
    there = ask(saved, [QUESTION] * 4, CANDIDATES)
    np.testing.assert_allclose(there["score"], [here[one] for one in CANDIDATES], atol=1e-5)
    words = predictor.explain(QUESTION, CANDIDATES[1])
    shares = [share for _, share in words]
    np.testing.assert_allclose(there["attention"][1, : len(words)], shares, atol=1e-5)
    np.testing.assert_allclose(there["attention"].sum(axis=1), 1.0, atol=1e-4)


def test_the_signature_rank_orders_the_candidates_of_one_question(predictor, saved):
    found = saved.signatures["rank"](
        question=tf.constant(QUESTION), candidates=tf.constant(CANDIDATES)
    )
    order = found["order"].numpy()
    expected = [one.text for one in predictor.rank(QUESTION, CANDIDATES).sentences]
    assert [CANDIDATES[place] for place in order] == expected
    assert (np.diff(found["scores"].numpy()[order]) <= 0).all()


def test_the_words_of_an_explanation_are_those_that_a_person_gave(predictor):
    words = predictor.explain("what is tol", "Number of Instances: 442")
    assert [word for word, _ in words] == ["Number", "of", "Instances:", "442"]
    assert sum(share for _, share in words) == pytest.approx(1, abs=1e-4)


def test_a_probability_is_the_sigmoid_of_the_score_where_candidates_do_not_agree(predictor):
    for row in predictor.rank(QUESTION, CANDIDATES).sentences:
        assert row.probability == pytest.approx(1 / (1 + np.exp(-row.score)), abs=1e-5)


def test_a_batch_is_its_rows_one_by_one(saved):
    questions = ["tol?", QUESTION, "what does the parameter n_jobs of the function do", "kernel"]
    together = ask(saved, questions, CANDIDATES)
    for row in range(4):
        alone = ask(saved, questions[row : row + 1], CANDIDATES[row : row + 1])
        np.testing.assert_allclose(alone["score"][0], together["score"][row], atol=1e-5)


def test_training_reads_the_same_features_as_the_saved_model(run, saved, cache_dir):
    """Scores of a batch from tf.data are the scores of its raw strings."""
    directory = RunDirectory.open(run, app="answer_selection")
    config = directory.read_config(Config)
    records = data.load_split(config.data, "validation").take(3)
    words = Vocabulary.load(run / "vocab_words.txt")
    model = directory.load_model()
    for record in records:
        [batch] = data.evaluation_batches(
            data.make_examples(tf.data.Dataset.from_tensors(record), words, config.data),
            batch_size=1,
        )
        prepared = model({name: batch[name] for name in model.input}, training=False)
        candidates = record["candidates"].numpy().tolist()
        raw = ask(saved, [record["question"].numpy()] * len(candidates), candidates)
        np.testing.assert_allclose(prepared["score"][0], raw["score"], rtol=1e-4, atol=1e-5)


def test_one_candidate_is_ranked(predictor):
    assert [one.text for one in predictor.rank(QUESTION, ["tol"]).sentences] == ["tol"]


def test_copies_of_a_candidate_have_the_same_score(predictor):
    found = predictor.rank(QUESTION, [*CANDIDATES, CANDIDATES[0]]).sentences
    both = [one.score for one in found if one.text == CANDIDATES[0]]
    assert len(both) == 2 and both[0] == pytest.approx(both[1], abs=1e-6)


def test_more_candidates_than_fit_into_one_call_are_all_ranked(predictor, monkeypatch):
    monkeypatch.setattr(predict, "AT_ONCE", 3)
    in_parts = scores(predictor, CANDIDATES)
    monkeypatch.undo()
    whole = scores(predictor, CANDIDATES)
    assert in_parts == pytest.approx(whole, abs=1e-5)


def test_ten_thousand_words_are_cut(predictor, caplog):
    long = "tol " * 10_000
    found = scores(predictor, [long, CANDIDATES[1]])
    most = predictor.ranker.max_words["candidate"]
    assert f"reads the first {most} of 10000 words of a candidate" in caplog.text
    cut = scores(predictor, ["tol " * most, CANDIDATES[1]])
    assert found[long] == pytest.approx(cut["tol " * most], abs=1e-6)


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


def test_paragraphs_are_split_into_sentences_from_a_file_or_standard_input(tmp_path, monkeypatch):
    text = "Dr. Li came. He paid $3.50.\n\n***\n\nWho? He came.\nHe paid $3.50."
    (tmp_path / "text.txt").write_text(text)
    expected = ["Dr. Li came.", "He paid $3.50.", "Who?", "He came."]
    assert list(retrieval.read_sentences(tmp_path / "text.txt")) == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert list(retrieval.read_sentences(Path("-"))) == expected


def test_a_text_that_is_not_utf_8_is_a_users_error(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"caf\xe9 is latin-1")
    with pytest.raises(UserError, match=r"expected UTF-8 text, got other bytes .* at byte 3"):
        retrieval.read_sentences(tmp_path / "text.txt")


def test_a_missing_text_is_named(run, tmp_path):
    with pytest.raises(UserError, match=r"found none at .*nowhere\.txt"):
        predict.main(run_dir=run, question="who?", passages=tmp_path / "nowhere.txt")


def test_either_a_text_or_a_folder_is_needed(run):
    with pytest.raises(UserError, match="got none: give --passages FILE or --corpus DIR"):
        predict.main(run_dir=run, question="who?")


def test_a_folder_of_texts_is_searched_and_each_sentence_names_its_file(
    run, predictor, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(predict.Predictor, "load", lambda _: predictor)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text("The tolerance is small. Apples are red.")
    (tmp_path / "texts" / "two.md").write_text("A kernel has a tolerance, too.")
    predict.main(
        run_dir=run, question="how small is the tolerance?", corpus=tmp_path / "texts", json=True
    )
    found = json.loads(capsys.readouterr().out)["sentences"]
    assert {one["text"]: Path(one["path"]).name for one in found} == {
        "The tolerance is small.": "one.txt",
        "A kernel has a tolerance, too.": "two.md",
    }
    with pytest.raises(UserError, match="word of the question in the texts of"):
        predict.main(run_dir=run, question="zebra?", corpus=tmp_path / "texts")
