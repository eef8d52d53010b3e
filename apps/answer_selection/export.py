"""Writes a run as a SavedModel that takes question and candidate strings.

python -m apps.answer_selection.export --run-dir runs/qa [--output DIR]
"""

from pathlib import Path
from typing import Literal

from apps.answer_selection.config import APP, Config
from apps.answer_selection.predict import load_ranker
from common import cli
from common.runs import RunDirectory

TRECQA = "TREC-QA sentences: research use, under the terms of the TREC collections"
LICENCES = {
    "docstrings": "documentation of numpy, scipy, scikit-learn (BSD-3-Clause), keras, tensorflow "
    "(Apache-2.0) and matplotlib (PSF-like)",
    "trecqa": TRECQA,
    "trecqa_train": TRECQA,
    "wikiqa": "WikiQA, Microsoft Research Data License Agreement",
    "qnli": "QNLI from SQuAD, CC BY-SA 4.0",
    "folder": "the terms of your own data",
}
GLOVE = "GloVe 6B word vectors, PDDL-1.0"


def export(run_dir: Path, output: Path | None = None) -> Path:
    """Writes the SavedModel and checks it in a fresh process that has TensorFlow alone.

    Args:
        run_dir: written by `train`.
        output: a folder; `run_dir/saved_model` by default. An older export there is replaced.

    Raises:
        UserError: no run of this app.
    """
    from apps.answer_selection import combination, datasets
    from common import exporting

    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    combined = combination.load(run.path) is not None
    glove = config.model.word_vectors == "glove" and config.model.word_vectors_file is None
    card = {
        "task": "answer sentence selection",
        "inputs": {
            "question": "string (batch,): UTF-8",
            "candidate": "string (batch,): UTF-8, one sentence that may answer the question",
        },
        "outputs": {
            "score": "float32 (batch,): higher answers better, for candidates of one question; "
            + ("log-odds of boosted trees" if combined else "of the network"),
            "attention": "float32 (batch, candidate_time), sums to 1 over the candidate's words",
        },
        "signatures": {
            "rank": "question string (), candidates string (candidates,) -> order int32 "
            "(candidates,), best first, scores float32 (candidates,)",
        },
        "training_data": config.data.name,
        "metrics": exporting.stored_metrics(run.path),
        "licences": [LICENCES[config.data.name], *([GLOVE] if glove else [])],
    }
    # Mixed lengths and scripts: what a client may send in one batch.
    question = "How many iterations does the solver run?"
    candidates = ["Maximum number of iterations.", "Größe", "the Name, or NONE to take them all"]
    path = output or run.path / "saved_model"
    exporting.write_saved_model(
        load_ranker(run_dir),
        path,
        card=card,
        probe={"question": [question, "what is tol?", "n_jobs"], "candidate": candidates},
        others={"rank": {"question": question, "candidates": candidates}},
        examples=datasets.example_arguments,
    )
    return path


def main(
    *, run_dir: Path, output: Path | None = None, format: Literal["saved_model"] = "saved_model"
) -> None:
    """Writes a run as a SavedModel: question and candidate in, score and attention out.

    Args:
        run_dir: Folder that `train` wrote.
        output: Folder to write; RUN_DIR/saved_model by default.
        format: What to write.
    """
    print(export(run_dir, output))


if __name__ == "__main__":
    cli.run(main, app=APP)
