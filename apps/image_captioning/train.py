"""Trains image captioning: data set -> run directory.

python -m apps.image_captioning.train --run-dir runs/captions [--preset tiny|small|paper]
"""

import dataclasses
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from apps.image_captioning.config import APP, MONITOR, PRESETS, Config, TrainConfig
from common.runs import cli
from common.runs.directory import RunDirectory

if TYPE_CHECKING:
    import tensorflow as tf

    from apps.image_captioning import data
    from apps.image_captioning.model import Network
    from apps.image_captioning.validation import ValidationScores
    from apps.image_captioning.writer import Writer
    from common.training import checkpoints
    from common.training import logging as training_log

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
    import keras

    from apps.image_captioning import data, initial, own_words, samples
    from apps.image_captioning.model import build_network, make_image_encoder
    from apps.image_captioning.neighbours import Neighbours
    from apps.image_captioning.validation import ValidationScores
    from apps.image_captioning.writer import Writer
    from common.layers import embeddings, recurrent
    from common.training import fit as training
    from common.training import strategies

    options = config.train
    run, strategy = training.start(run_dir, app=APP, config=config, resume=resume, dry_run=dry_run)
    own_words.check(options, strategy)

    shown, held_back = (data.load_split(config.data, name) for name in ("train", "validation"))
    found = data.survey(shown.records, config.data)
    logger.info("%s: %s", config.data.name, found.summary())
    vectors = None
    if config.model.word_vectors == "glove":
        vectors, coverage, _ = embeddings.load_word_vectors(found.words.tokens)
        logger.info("glove: vectors for %.1f%% of the words", 100 * coverage)

    frozen = run.path / "encoder.keras"
    trained = config.model.train_image_encoder
    built = options if trained else dataclasses.replace(options, precision="float32")
    with training.scope(strategy, built):
        kept = frozen.exists()
        encoder = run.load_model(frozen.name) if kept else make_image_encoder(config.model)
        keras.utils.set_random_seed(options.seed)  # whatever the encoder drew
        network = build_network(
            config.model,
            len(found.words),
            encoder,
            coverage=options.coverage,
            word_vectors=vectors,
        )
    if options.init_from is not None:
        initial.copy_weights(options.init_from, encoder, network.decoder, found.words)
    with strategies.chief_first(strategy):  # it computes the features
        shown_batches = data.TrainingData(config, found, shown, encoder)
        held_back_batches = data.make_batches(held_back, found.words, config, encoder)

    kernels = recurrent.kernels(network.model)
    run.describe(app=APP, config=config, seed=options.seed, kernels=kernels)
    found.words.save(run.path / "vocab_words.txt")
    if not trained:
        run.save_model(encoder, frozen.name)
    writer = Writer(
        network.decoder,
        found.words,
        max_words=config.data.max_caption_words,
        length_penalty=config.decoding.length_penalty,
    )
    scores = ValidationScores(writer, network.grid_of, held_back_batches)
    held_back_batches = held_back_batches.map(_as_training(network))
    sampled = functools.partial(samples.make_samples, network, writer, config)
    fit = functools.partial(
        _fit, network, scores, sampled, held_back_batches, shown_batches, run, options
    )
    told = fit(_told(network, shown_batches, options), "model", options.epochs)
    if dry_run:
        return run
    network.model.set_weights(run.load_model().get_weights())
    if options.self_critical_epochs:
        network.decoder.leave_out_noise()
        drawn = _drawn(network, shown_batches, writer, data.captions(shown), options)
        rewarded = fit(drawn, "self_critical", options.self_critical_epochs)
        if rewarded.best_value > told.best_value:
            run.save_model(run.load_model("self_critical.keras"), "model.keras")
        network.model.set_weights(run.load_model().get_weights())
    if run.writes:
        every_image = data.make_batches(shown, found.words, config, network.encoder)
        Neighbours.save(run.path, every_image, network.grid_of)
    training.report_rates(
        shown_batches.batches(),
        shown_batches.num_batches,
        history=told.history,
        num_examples=found.num_images,
        unit="images",
    )
    return run


def _fit(
    network: "Network",
    scores: "ValidationScores",
    make_samples: "Callable[[], training_log.Samples]",
    held_back: "tf.data.Dataset",
    shown: "data.TrainingData",
    run: RunDirectory,
    options: TrainConfig,
    batches: "Callable[[int], tf.data.Dataset]",
    name: str,
    epochs: int,
) -> "checkpoints.Checkpointing":
    """Fits the network, from its last checkpoint on; the best goes to <name>.keras."""
    from common.training import checkpoints, losses, optimizers, strategies
    from common.training import fit as training

    told = name == "model"
    with network.model.distribute_strategy.scope():
        fitted = strategies.Model(network.model.input, network.model.output)
        fitted.compile(
            optimizer=optimizers.make_optimizer(
                options.learning_rate if told else options.self_critical_learning_rate,
                schedule=options.schedule,
                warmup_steps=options.warmup_steps if told else 0,
                total_steps=shown.num_batches * epochs,
                clip_norm=options.clip_norm,
                average=options.average,
                precision=options.precision,
            ),
            loss=losses.StepsCrossEntropy(options.label_smoothing if told else 0.0),
            metrics=[losses.accuracy],
        )
    keep = checkpoints.Checkpointing(
        run,
        network.model,
        name=name,
        monitor=MONITOR,
        patience=options.patience,
        minutes=options.checkpoint_minutes,
    )
    training.run_epochs(
        fitted,
        lambda epoch: batches(epoch).map(_as_training(network)),
        keep,
        steps_per_epoch=shown.num_batches,
        epochs=epochs,
        num_examples=shown.found.num_images,
        unit="images",
        validation_data=held_back,
        callbacks=[scores],
        make_samples=make_samples,
    )
    return keep


def _as_training(network: "Network") -> "Callable":
    from apps.image_captioning import data

    return functools.partial(data.as_training, inputs=network.model.input)


def _told(
    network: "Network", shown: "data.TrainingData", options: TrainConfig
) -> "Callable[[int], tf.data.Dataset]":
    """By first epoch, batches of people's captions, in which the network may read its own words."""
    from apps.image_captioning import own_words

    def batches(epoch: int) -> "tf.data.Dataset":
        told = shown.batches(first_epoch=epoch)
        if not options.scheduled_sampling:
            return told
        return own_words.with_own_words(
            told,
            network.decoder,
            network.grid_of,
            share=options.scheduled_sampling,
            num_batches=shown.num_batches * options.epochs,
            first=shown.num_batches * epoch,
            seed=options.seed,
        )

    return batches


def _drawn(
    network: "Network",
    shown: "data.TrainingData",
    writer: "Writer",
    captions: list[list[str]],
    options: TrainConfig,
) -> "Callable[[int], tf.data.Dataset]":
    """By first epoch, batches of captions that the network draws, with rewards."""
    from apps.image_captioning import own_words

    return lambda epoch: own_words.with_rewards(
        shown.batches(first_epoch=epoch),
        writer,
        network.grid_of,
        captions,
        samples=options.self_critical_samples,
        first=shown.num_batches * epoch,
        seed=options.seed,
    )


main = cli.train_command(train, Config)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
