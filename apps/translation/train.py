"""Trains translation: data set -> run directory.

python -m apps.translation.train --run-dir runs/translation [--preset tiny|small|paper]
"""

import functools
import logging
from pathlib import Path

from apps.translation.config import APP, MONITOR, PRESETS, Config
from common.runs import cli
from common.runs.directory import RunDirectory

logger = logging.getLogger("cellstate")


def train(
    config: Config, run_dir: Path, *, resume: bool = False, dry_run: bool = False
) -> RunDirectory:
    """Learns the pieces of words, and trains the network on pairs of texts.

    Args:
        config: all options.
        run_dir: a new folder; or, with `resume`, the folder of an interrupted run.
        resume: continue that run from its last checkpoint; only the options in
            `directory.MAY_CHANGE` may differ, such as `data.root` where the data has moved.
        dry_run: take two steps, tell what the whole would take, and leave nothing.

    Raises:
        UserError: the data is missing or damaged, or the folder does not fit.
    """
    # TensorFlow starts here, not above: `--help` and a misspelt option need not wait for it.
    from apps.translation import data, model, predict
    from apps.translation.translating.validation import ValidationScores
    from common.layers import recurrent
    from common.training import fit, losses

    options = config.train
    run, strategy = fit.start(run_dir, app=APP, config=config, resume=resume, dry_run=dry_run)

    train_data = data.make_training_data(
        config.data, tokens=options.tokens, batch_size=options.batch_size
    )
    logger.info("%s: %s", config.data.name, train_data.summary())

    with fit.scope(strategy, options):
        trained = model.build_model(config.model, len(train_data.pieces))
    kernels = recurrent.kernels(trained)
    run.describe(app=APP, config=config, seed=options.seed, kernels=kernels)
    train_data.pieces.save(run.path / "vocab_pieces.txt")
    translator = model.Translator(trained.get_layer("network"), train_data.pieces, config, beam=1)
    records = data.load_split(config.data, "validation")
    as_training = functools.partial(data.as_training, inputs=trained.input)
    fit.fit(
        trained,
        trained.output,
        run,
        options,
        batches=lambda epoch: train_data.batches(seed=options.seed, first_epoch=epoch).map(
            as_training
        ),
        steps_per_epoch=train_data.num_batches,
        validation_data=train_data.validation.map(as_training),
        loss=losses.StepsCrossEntropy(options.label_smoothing),
        metrics=[losses.accuracy],
        monitor=MONITOR,
        num_examples=len(train_data.lengths),
        unit="pairs",
        callbacks=[ValidationScores(translator, records, batch_size=options.batch_size)],
        make_samples=lambda: predict.make_samples(translator, records),
    )
    return run


main = cli.train_command(train, Config, PRESETS)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
