"""Trains answer selection: data set -> run directory.

python -m apps.answer_selection.train --run-dir runs/qa [--preset tiny|small|paper] [--data.name N]
"""

import dataclasses
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from apps.answer_selection.config import APP, MONITOR, PRESETS, Config
from common.runs import cli, files
from common.runs.directory import RunDirectory

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from apps.answer_selection import data
    from apps.answer_selection.model import WordTables

logger = logging.getLogger("cellstate")


def train(
    config: Config, run_dir: Path, *, resume: bool = False, dry_run: bool = False
) -> RunDirectory:
    """Trains the model; the best epoch is the one with the highest MAP on validation questions.

    Args:
        config: all options.
        run_dir: a new folder; or, with `resume`, the folder of an interrupted run.
        resume: continue that run from its last checkpoint; only `train.epochs`,
            `train.checkpoint_minutes`, `train.strategy` and `data.service` may differ.
        dry_run: take two steps, tell what the whole would take, and leave nothing.

    Raises:
        UserError: the data is missing or damaged, or the folder does not fit.
    """
    # TensorFlow starts here, not above: `--help` and a misspelt option need not wait for it.

    from apps.answer_selection import combination, data, word_vectors
    from apps.answer_selection.model import WordTables, build_model
    from common.layers import recurrent
    from common.training import fit

    options = config.train
    run, strategy = fit.start(run_dir, app=APP, config=config, resume=resume, dry_run=dry_run)
    (run.path / combination.NAME).unlink(missing_ok=True)  # fits the network of before

    shown = data.make_training_data(
        config.data,
        batch_size=options.batch_size,
        candidates_per_question=options.candidates_per_question,
        more_words=word_vectors.more_words(config.model),
    )
    words = shown.found.words
    names = [*words.tokens, *(f"<bucket_{place}>" for place in range(config.data.hash_buckets))]
    tables = WordTables(shown.found.idf, word_vectors.load(names, config.model))
    logger.info("%s: %s", config.data.name, shown.summary())
    with fit.scope(strategy, options):
        model = build_model(config.model, tables)

    run.describe(app=APP, config=config, seed=options.seed, kernels=recurrent.kernels(model))
    words.save(run.path / "vocab_words.txt")
    _fit(model, shown, run, config, seed=options.seed)
    if dry_run:
        return run
    if options.combine_folds:
        unseen = {}
        for fold in range(options.combine_folds):
            unseen |= _score_fold(fold, tables, shown, run, config, strategy)
        run.write_json(combination.NAME, _combine(unseen, shown, run, config))
    return run


def _fit(
    model: "keras.Model",
    shown: "data.TrainingData",
    run: RunDirectory,
    config: Config,
    *,
    seed: int,
) -> list[dict[str, float]]:
    """Fits the network, from its last checkpoint on; the best goes to model.keras."""
    from apps.answer_selection import data, losses, samples
    from common.training import fit

    options = dataclasses.replace(config.train, seed=seed)
    margin = {"margin": options.margin} if options.loss == "pairwise" else {}
    as_training = functools.partial(data.as_training, inputs=model.input)
    return fit.fit(
        model,
        model.output["score"],  # attention has no target
        run,
        options,
        batches=lambda epoch: shown.batches(seed=seed, first_epoch=epoch).map(as_training),
        steps_per_epoch=shown.num_batches,
        loss=losses.RankingLoss(options.loss, **margin),
        monitor=MONITOR,
        num_examples=len(shown.found.lengths),
        unit="questions",
        callbacks=[_make_validation(model, shown, config)],
        make_samples=functools.partial(samples.make_samples, model, shown.found.words, config),
    )


def _make_validation(
    model: "keras.Model", shown: "data.TrainingData", config: Config
) -> "keras.callbacks.Callback":
    """A callback that puts the ranking metrics of the validation questions among the epoch's."""
    import keras

    from apps.answer_selection import ranking, scoring

    weight = config.model.agreement
    read = scoring.make_reader(model, shown.validation, agreement_weight=weight)

    def validate(epoch: int, logs: dict[str, float]) -> None:
        results = ranking.score_questions(one.ranked() for one in read())
        found = ranking.summarize(results, config.data.protocol).metrics
        logs.update({f"val_{name}": value for name, value in found.items()})

    return keras.callbacks.LambdaCallback(on_epoch_end=validate)


def _score_fold(
    fold: int,
    tables: "WordTables",
    shown: "data.TrainingData",
    run: RunDirectory,
    config: Config,
    strategy: "tf.distribute.Strategy",
) -> dict[str, list[float]]:
    """Scores of the questions of a fold, by a network that was trained on those of the others.

    It is kept in folds/<fold> as a run is, so that an interrupted training goes on; scores.json is
    written last. By question id, for each candidate, in deviations from the network's mean score.
    """
    import numpy as np

    from apps.answer_selection import combination, data, scoring
    from apps.answer_selection.model import build_model
    from common.training import fit

    options = config.train
    part = RunDirectory(run.path / "folds" / str(fold), writes=run.writes)
    done = part.path / "scores.json"
    if done.exists() and (kept := files.read_json(done))["epochs"] == options.epochs:
        return kept["scores"]
    logger.info("fold %d of %d: a network without its questions", fold + 1, options.combine_folds)
    seed = int(np.random.default_rng([options.seed, fold]).integers(2**31))
    with fit.scope(strategy, dataclasses.replace(options, seed=seed)):
        network = build_model(config.model, tables)
    _fit(network, shown.without_fold(fold, options.combine_folds), part, config, seed=seed)

    batches = data.evaluation_batches(shown.examples, batch_size=options.batch_size)
    read = scoring.read(part.load_model(), batches)
    scored = {one.question_id: one.outputs["score"].tolist() for one in read}
    mean, deviation = combination.Moments.of(np.concatenate(list(scored.values())))
    unseen = {
        question_id: ((np.array(scores) - mean) / deviation).tolist()
        for question_id, scores in scored.items()
        if int(data.fold_of(question_id, options.combine_folds)) == fold
    }
    part.write_json("scores.json", {"epochs": options.epochs, "scores": unseen})
    return unseen


def _combine(
    unseen: dict[str, list[float]], shown: "data.TrainingData", run: RunDirectory, config: Config
) -> dict:
    """Trees, as JSON, that combine scores of unseen training questions with the words' overlap."""
    import numpy as np

    from apps.answer_selection import boosting, combination, data, scoring

    batches = data.evaluation_batches(shown.examples, batch_size=config.train.batch_size)
    questions = list(scoring.read(run.load_model(), batches, names=("score", "overlap")))
    scores = np.concatenate([unseen[one.question_id] for one in questions])
    overlap = np.concatenate([one.outputs["overlap"] for one in questions])
    boosted = boosting.fit(
        np.concatenate([scores[:, None], overlap], axis=1).astype("float32"),
        np.concatenate([one.labels for one in questions]),
        np.repeat(np.arange(len(questions)), [len(one.labels) for one in questions]),
        seed=config.train.seed,
    )
    # Where the scores of the network lie that was trained on all: the scale of the folds' scores.
    own = combination.Moments.of(np.concatenate([one.outputs["score"] for one in questions]))
    return combination.to_json(combination.Combination(own, boosting.as_trees(boosted)))


main = cli.train_command(train, Config)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
