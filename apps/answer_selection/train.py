"""Trains answer selection: data set -> run directory.

python -m apps.answer_selection.train --run-dir runs/qa [--preset tiny|small|paper] [--data.name N]
"""

import functools
import logging
from pathlib import Path

from apps.answer_selection.config import APP, MONITOR, PRESETS, Config
from common.runs import cli
from common.runs.directory import RunDirectory

logger = logging.getLogger("cellstate")


def train(
    config: Config, run_dir: Path, *, resume: bool = False, dry_run: bool = False
) -> RunDirectory:
    """Trains the model; the best epoch is the one with the highest MAP on validation questions.

    Args:
        config: all options.
        run_dir: a new folder; or, with `resume`, the folder of an interrupted run.
        resume: continue that run from its last checkpoint; only the options in
            `directory.MAY_CHANGE` may differ, such as `data.root` where the data has moved.
        dry_run: take two steps, print what the whole training would take, and leave nothing.

    Raises:
        UserError: the data is missing or damaged, or the folder does not fit.
    """
    # TensorFlow starts here, not above: `--help` and a misspelt option need not wait for it.
    from apps.answer_selection import data, predict
    from apps.answer_selection.model import Ranker, build_model, load_tables, words_with_vectors
    from apps.answer_selection.ranking import networks, validation
    from common.layers import recurrent
    from common.training import fit
    from common.training.logging import NUM_SAMPLES

    options = config.train
    run, strategy = fit.start(run_dir, app=APP, config=config, resume=resume, dry_run=dry_run)

    train_data = data.make_training_data(
        config.data,
        batch_size=options.batch_size,
        candidates_per_question=options.candidates_per_question,
        more_words=words_with_vectors(config.model),
    )
    words = train_data.statistics.words
    tables = load_tables(words, train_data.statistics.idf, config.model)
    logger.info("%s: %s", config.data.name, train_data.summary())

    with fit.scope(strategy, options):
        model = build_model(config.model, tables)
    run.describe(app=APP, config=config, seed=options.seed, kernels=recurrent.kernels(model))
    words.save(run.path / "vocab_words.txt")

    as_training = functools.partial(data.as_training, inputs=model.input)
    validate = validation.make_validation(
        model,
        train_data.validation,
        protocol=config.data.protocol,
        agreement_weight=config.model.agreement,
    )

    def make_samples():
        records = data.load_split(config.data, "validation").take(NUM_SAMPLES)
        return predict.make_samples(Ranker(model, words, config), records.as_numpy_iterator())

    fit.fit(
        model,
        model.output["score"],  # attention has no target
        run,
        options,
        batches=lambda epoch: train_data.batches(seed=options.seed, first_epoch=epoch).map(
            as_training
        ),
        steps_per_epoch=train_data.num_batches,
        loss=networks.PointwiseLoss(),
        monitor=MONITOR,
        num_examples=len(train_data.statistics.lengths),
        unit="questions",
        callbacks=[validate],
        make_samples=make_samples,
    )
    return run


main = cli.train_command(train, Config, PRESETS)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
