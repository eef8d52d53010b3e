"""Writes a run as a SavedModel that takes question and candidate strings, or for another runtime.

python -m apps.answer_selection.export --run-dir runs/qa [--output DIR] [--format onnx]
"""

from pathlib import Path

from apps.answer_selection.config import APP, Config
from apps.answer_selection.predict import load_ranker
from common.runs import cli
from common.runs.directory import RunDirectory

TRECQA = "TREC-QA sentences: research use, under the terms of the TREC collections"
LICENCES = {
    "docstrings": "documentation of numpy, scipy, scikit-learn (BSD-3-Clause), keras, tensorflow "
    "(Apache-2.0) and matplotlib (PSF-like)",
    "trecqa": TRECQA,
    "trecqa_train": TRECQA,
    "wikiqa": "WikiQA, Microsoft Research Data License Agreement",
    "folder": "the terms of your own data",
}
GLOVE = "GloVe 6B word vectors, PDDL-1.0"


def export(
    run_dir: Path, output: Path | None = None, *, format: cli.ExportFormat = "saved_model"
) -> Path:
    """Writes a run and checks what was written in a fresh process.

    Args:
        run_dir: written by `train`.
        output: a folder; `run_dir/FORMAT` by default. An older export there is replaced.
        format: the SavedModel needs TensorFlow alone; the others NumPy and their runtime.

    Raises:
        UserError: no run of this app; a package is missing, or the run cannot be converted.
    """
    from apps.answer_selection import datasets
    from common.export import saved_model

    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    glove = config.model.word_vectors == "glove" and config.model.word_vectors_file is None
    card = {
        "task": "answer sentence selection",
        "inputs": {
            "question": "string (batch,): UTF-8",
            "candidate": "string (batch,): UTF-8, one sentence that may answer the question",
        },
        "outputs": {
            "score": "float32 (batch,): log-odds that the candidate answers the question",
            "attention": "float32 (batch, candidate_time), sums to 1 over the candidate's words",
        },
        "signatures": {
            "rank": "question string (), candidates string (candidates,) -> order int32 "
            "(candidates,), best first, scores float32 (candidates,)"
            + (", with the agreement of the candidates" if config.model.agreement else ""),
        },
        "training_data": config.data.name,
        "metrics": saved_model.stored_metrics(run.path),
        "licences": [LICENCES[config.data.name], *([GLOVE] if glove else [])],
    }
    # Mixed lengths and scripts: what a client may send in one batch.
    question = "How many iterations does the solver run?"
    candidates = ["Maximum number of iterations.", "Größe", "the Name, or NONE to take them all"]
    path = output or run.path / format
    ranker = load_ranker(run_dir)
    if format == "saved_model":
        saved_model.write_saved_model(
            ranker,
            path,
            card=card,
            probe={"question": [question, "what is tol?", "n_jobs"], "candidate": candidates},
            others={"rank": {"question": question, "candidates": candidates}},
            examples=datasets.example_arguments,
        )
    else:
        card = {**card, "signature": card["signatures"]["rank"]}
        _write_runtime(ranker, run.path, path, card, (question, candidates), format=format)
    return path


def _write_runtime(ranker, run_path: Path, path: Path, card, probe: tuple, *, format: str) -> None:
    """The network for another runtime, one question at a time; words are split in runtime.py."""
    import tensorflow as tf

    from apps.answer_selection import features
    from common.export import portable
    from common.export.conversion import Part

    model = ranker.network.python_function  # not the graph of it that is there already
    portable.require_portable(model.func)

    def score(**given):
        outputs = model({**given, **{n: given[n][None] for n in given if n.startswith("cand")}})
        return {name: outputs[name][0] for name in ("score", "unasked")}

    inputs = {}
    for name, rows in (("question", 1), ("candidate", None)):
        inputs[f"{name}_ids"] = tf.TensorSpec([rows, None], tf.int32)
        inputs[f"{name}_keys"] = tf.TensorSpec([rows, None, features.NUM_KEYS], tf.int32)
        inputs[f"{name}_mask"] = tf.TensorSpec([rows, None], tf.bool)
    question, candidates = probe
    found = ranker.rank(tf.constant(question), tf.constant(candidates))
    portable.write_runtime(
        path,
        {"model": Part(score, inputs)},
        format=format,
        sources=[
            Path(__file__).parent / "runtime.py",
            Path(__file__).parent / "fingerprint.py",
            "words.py",
        ],
        settings={
            "max_words": ranker.max_words,
            "num_buckets": ranker.num_buckets,
            "agreement": ranker.agreement_weight,
        },
        copies=[run_path / "vocab_words.txt"],
        card=card,
        probes=[
            (
                {"question": question, "candidates": candidates},
                {name: value.numpy() for name, value in found.items()},
            )
        ],
    )


def main(
    *, run_dir: Path, output: Path | None = None, format: cli.ExportFormat = "saved_model"
) -> None:
    """Writes a run as a SavedModel: question and candidate in, score and attention out.

    Args:
        run_dir: Folder that `train` wrote.
        output: Folder to write; RUN_DIR/FORMAT by default.
        format: For TensorFlow, or for ONNX Runtime or LiteRT, also with matrices in eight bits.
    """
    print(export(run_dir, output, format=format))


if __name__ == "__main__":
    cli.run(main, app=APP)
