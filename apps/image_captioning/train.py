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
        resume: continue that run from its last checkpoint; only `train.epochs`,
            `train.checkpoint_minutes` and `train.strategy` may differ.
        dry_run: take two steps, tell what the whole would take, and leave nothing.

    Raises:
        UserError: the data is missing or damaged, or the folder does not fit.
    """
    # TensorFlow starts here, not above: `--help` and a misspelt option need not wait for it.
    from apps.image_captioning import data, initial, samples
    from apps.image_captioning.model import build_network, make_image_encoder
    from apps.image_captioning.neighbours import Neighbours
    from apps.image_captioning.validation import ValidationScores
    from apps.image_captioning.writer import Writer
    from common.layers import embeddings, recurrent
    from common.training import fit, losses, strategies

    options = config.train
    run, strategy = fit.start(run_dir, app=APP, config=config, resume=resume, dry_run=dry_run)
    if strategy.num_replicas_in_sync > 1 and options.coverage:
        if not strategies.is_multi_worker(strategy):
            # Devices of one process share the list to which Keras' `add_loss` adds.
            raise UserError(
                "expected train.coverage 0 on several devices of one machine, got "
                f"{options.coverage}: give --train.coverage 0, or --train.strategy none"
            )

    training, held_back = (data.load_split(config.data, name) for name in ("train", "validation"))
    survey = data.survey(training.records, config.data)
    words = survey.words
    logger.info("%s: %s", config.data.name, survey.summary())
    vectors = None
    if config.model.word_vectors == "glove":
        vectors, coverage, _ = embeddings.load_word_vectors(words.tokens)
        logger.info("glove: vectors for %.1f%% of the words", 100 * coverage)

    frozen, stored = not config.model.train_image_encoder, run.path / "encoder.keras"
    of_encoder = dataclasses.replace(options, precision="float32") if frozen else options
    with fit.scope(strategy, of_encoder):
        known = stored.exists()
        encoder = run.load_model(stored.name) if known else make_image_encoder(config.model)
    with fit.scope(strategy, options):
        network = build_network(
            config.model, len(words), encoder, coverage=options.coverage, word_vectors=vectors
        )
    if options.init_from is not None:
        initial.copy_weights(options.init_from, encoder, network.decoder, words)
    with strategies.chief_first(strategy):  # it computes the features
        train_data = data.TrainingData(config, survey, training, encoder)
        validation = data.make_batches(held_back, words, config, encoder)

    kernels = recurrent.kernels(network.model)
    run.describe(app=APP, config=config, seed=options.seed, kernels=kernels)
    words.save(run.path / "vocab_words.txt")
    if frozen:
        run.save_model(encoder, stored.name)
    writer = Writer(
        network.decoder,
        words,
        max_words=config.data.max_caption_words,
        length_penalty=config.decoding.length_penalty,
    )
    as_training = functools.partial(data.as_training, inputs=network.model.input)
    fit.fit(
        network.model,
        network.model.output,
        run,
        options,
        batches=lambda epoch: train_data.batches(first_epoch=epoch).map(as_training),
        steps_per_epoch=train_data.num_batches,
        validation_data=validation.map(as_training),
        loss=losses.StepsCrossEntropy(options.label_smoothing),
        metrics=[losses.accuracy],
        monitor=MONITOR,
        num_examples=survey.num_images,
        unit="images",
        callbacks=[ValidationScores(writer, network.grid_of, validation)],
        make_samples=functools.partial(samples.make_samples, network, writer, config),
    )
    if run.writes and not dry_run:
        network.model.set_weights(run.load_model().get_weights())
        in_order = data.make_batches(training, words, config, encoder)
        Neighbours.save(run.path, in_order, network.grid_of)
    return run


main = cli.train_command(train, Config)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
