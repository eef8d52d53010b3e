"""Writes a run as a SavedModel that takes question and candidate strings, or for another runtime.

python -m apps.answer_selection.export --run-dir runs/qa [--output DIR] [--format onnx]
"""

from pathlib import Path

from apps.answer_selection.config import APP, Config
from common.runs import cli, directory

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
# Mixed lengths and scripts: what a client may send in one batch.
QUESTION = "How many iterations does the solver run?"
CANDIDATES = ["Maximum number of iterations.", "Größe", "the Name, or NONE to take them all"]


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
    from apps.answer_selection.model import load_inference
    from common.export import saved_model

    run, config = directory.open_run(run_dir, app=APP, config_type=Config)
    ranker = load_inference(run_dir)
    path = output or run.path / format
    card = _make_card(run, config, of_pairs=format == "saved_model")
    if format == "saved_model":
        saved_model.write_saved_model(
            ranker,
            path,
            card=card,
            probe={"question": [QUESTION, "what is tol?", "n_jobs"], "candidate": CANDIDATES},
            others={"rank": {"question": QUESTION, "candidates": CANDIDATES}},
            examples=datasets.example_arguments,
        )
    else:
        _write_runtime(ranker, run.path, path, card, format=format)
    return path


def _make_card(run: directory.RunDirectory, config: Config, *, of_pairs: bool) -> dict[str, object]:
    """The card of the SavedModel; or, with `of_pairs` False, that of its signature "rank" alone."""
    from common.export import card

    agreement = ", raised by the agreement of the candidates" if config.model.agreement else ""
    log_odds = "log-odds that the candidate answers; the sigmoid of it is the probability"
    rank = {
        "inputs": {"question": card.text(), "candidates": card.text("candidates")},
        "outputs": {
            "order": card.numbers("int32", "candidates", description="places, best first"),
            "scores": card.numbers("float32", "candidates", description=log_odds + agreement),
        },
    }
    pairs = {
        "inputs": {
            "question": card.text("batch"),
            "candidate": card.text("batch", description="a sentence that may answer"),
        },
        "outputs": {
            "score": card.numbers("float32", "batch", description=log_odds),
            "attention": card.numbers(
                "float32", "batch", "candidate_time", description="sums to 1 over the words"
            ),
        },
    }
    glove = config.model.word_vectors == "glove" and config.model.word_vectors_file is None
    return card.make_card(
        run,
        task="answer sentence selection",
        data=config.data.name,
        licences=[LICENCES[config.data.name], *([GLOVE] if glove else [])],
        signatures={"rank": rank} if of_pairs else None,
        **(pairs if of_pairs else rank),
    )


def _write_runtime(ranker, run_path: Path, path: Path, card, *, format: str) -> None:
    """The network for another runtime, one question at a time; words are split in runtime.py."""
    import tensorflow as tf

    from apps.answer_selection.ranking import tokenizer
    from common.export import portable
    from common.export.conversion import Part

    model = ranker.network.python_function  # not the graph of it that is there already
    portable.require_portable(model.func)

    def score(**inputs):
        groups = {name: inputs[name][None] for name in inputs if name.startswith("candidate")}
        outputs = model({**inputs, **groups})
        return {name: outputs[name][0] for name in ("score", "unasked")}

    inputs = {}
    for name, rows in (("question", 1), ("candidate", None)):
        inputs[f"{name}_ids"] = tf.TensorSpec([rows, None], tf.int32)
        inputs[f"{name}_keys"] = tf.TensorSpec([rows, None, tokenizer.NUM_KEYS], tf.int32)
        inputs[f"{name}_mask"] = tf.TensorSpec([rows, None], tf.bool)
    outputs = ranker.rank(tf.constant(QUESTION), tf.constant(CANDIDATES))
    expected = {name: value.numpy() for name, value in outputs.items()}
    folder = Path(__file__).parent
    portable.write_runtime(
        path,
        {"model": Part(score, inputs)},
        format=format,
        sources=[folder / "runtime.py", folder / "ranking" / "agreement.py", "words.py"],
        settings={
            "max_words": ranker.max_words,
            "num_buckets": ranker.num_buckets,
            "agreement": ranker.agreement_weight,
        },
        copies=[run_path / "vocab_words.txt"],
        card=card,
        probes=[({"question": QUESTION, "candidates": CANDIDATES}, expected)],
    )


main = cli.export_command(export)


if __name__ == "__main__":
    cli.run(main, app=APP)
