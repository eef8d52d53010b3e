"""Trains image captioning: data set -> run directory.

python -m apps.image_captioning.train --run-dir runs/captions [--preset tiny|small|paper]
"""

import dataclasses
import functools
import logging
from pathlib import Path

from apps.image_captioning.config import APP, MONITOR, PRESETS, Config
from common.runs import cli
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")


def train(
    config: Config, run_dir: Path, *, resume: bool = False, dry_run: bool = False
) -> RunDirectory:
    """Computes the features of the images unless that is done, and trains the decoder on them.

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
    from apps.image_captioning import data, model, predict
    from apps.image_captioning.captioning.neighbours import Neighbours
    from apps.image_captioning.captioning.writer import ValidationScores
    from common.layers import recurrent
    from common.training import fit, losses, strategies

    options = config.train
    run, strategy = fit.start(run_dir, app=APP, config=config, resume=resume, dry_run=dry_run)
    one_process = not strategies.is_multi_worker(strategy)
    if options.coverage and strategy.num_replicas_in_sync > 1 and one_process:
        # Devices of one process share the list to which Keras' `add_loss` adds.
        raise UserError(
            "expected train.coverage 0 on several devices of one machine, got "
            f"{options.coverage}: give --train.coverage 0, or --train.strategy none"
        )

    frozen = not config.model.train_image_encoder
    building = dataclasses.replace(options, precision="float32") if frozen else options
    with fit.scope(strategy, building):
        encoder = model.start_encoder(config, run)
    with strategies.chief_first(strategy):  # it computes the features
        train_data = data.make_training_data(config, encoder)
    words = train_data.survey.words
    logger.info("%s: %s", config.data.name, train_data.summary())

    with fit.scope(strategy, building):
        trained = model.build_model(config.model, len(words), encoder, coverage=options.coverage)
    network = model.Network(encoder, trained)
    if options.init_from is not None:
        model.start_decoder(network.decoder, words, options.init_from)

    kernels = recurrent.kernels(trained)
    run.describe(app=APP, config=config, seed=options.seed, kernels=kernels)
    words.save(run.path / "vocab_words.txt")
    if frozen:
        run.save_model(encoder, model.FROZEN_ENCODER)
    writer = model.make_writer(config, network, words)
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
        num_examples=len(train_data.survey.lengths),
        unit="images",
        callbacks=[ValidationScores(writer, network.grid_of, train_data.validation)],
        make_samples=lambda: predict.make_samples(
            model.Captioner(network, writer, beam=1),
            data.load_split(config.data, "validation").records,
        ),
    )
    if run.writes and not dry_run:
        trained.set_weights(run.load_model().get_weights())
        Neighbours.save(run.path, train_data.in_order, network.grid_of)
    return run


main = cli.train_command(train, Config, PRESETS)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
