"""Trains phoneme tagging: data set -> run directory.

python -m apps.phoneme_tagging.train --run-dir runs/phones [--preset tiny|small|paper]
"""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from apps.phoneme_tagging.config import APP, MONITOR, PRESETS, Config
from common.runs import cli
from common.runs.directory import RunDirectory

if TYPE_CHECKING:
    import keras

    from apps.phoneme_tagging import data

logger = logging.getLogger("cellstate")


def train(
    config: Config, run_dir: Path, *, resume: bool = False, dry_run: bool = False
) -> RunDirectory:
    """Trains the model.

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

    from apps.phoneme_tagging import data, initial
    from apps.phoneme_tagging.layers import Normalization
    from apps.phoneme_tagging.model import build_model
    from common.layers import recurrent
    from common.training import fit

    options = config.train
    run, strategy = fit.start(run_dir, app=APP, config=config, resume=resume, dry_run=dry_run)

    shown = data.make_training_data(
        config.data, config.model, config.augment, batch_size=options.batch_size
    )
    found = shown.found
    logger.info("%s: %s", config.data.name, shown.summary())

    with fit.scope(strategy, options):
        model = build_model(
            config.model,
            num_phones=len(found.phones),
            normalization=Normalization(found.mean, found.variance),
        )
    if options.init_from is not None:
        initial.copy_weights(options.init_from, model, found.phones)
    run.describe(app=APP, config=config, seed=options.seed, kernels=recurrent.kernels(model))
    found.phones.save(run.path / "vocab_phones.txt")
    run.write_json(
        "phone_counts.json",
        {"bigrams": found.bigrams.tolist(), "frames": found.frame_counts.tolist()},
    )
    _fit(model, shown, run, config)
    return run


def _fit(
    model: "keras.Model",
    shown: "data.TrainingData",
    run: RunDirectory,
    config: Config,
) -> None:
    """Fits the network, from its last checkpoint on; the best goes to `model.keras`."""
    from apps.phoneme_tagging import data, samples
    from apps.phoneme_tagging.model import Decoder, LanguageModel
    from apps.phoneme_tagging.validation import PhoneAccuracy
    from common.training import fit, losses

    options, found = config.train, shown.found
    decoder = Decoder(config.model, LanguageModel(found.bigrams, found.frame_counts))
    as_training = functools.partial(data.as_training, inputs=model.input)
    fit.fit(
        model,
        model.output["logits"],
        run,
        options,
        batches=lambda epoch: shown.batches(seed=options.seed, first_epoch=epoch).map(as_training),
        steps_per_epoch=shown.num_batches,
        loss=losses.WeightedCrossEntropy(),
        weighted_metrics=["accuracy"],
        monitor=MONITOR,
        num_examples=sum(found.lengths),
        unit="frames",
        validation_data=shown.validation.map(as_training),
        callbacks=[PhoneAccuracy(model, decoder, found.phones.tokens, shown.validation)],
        make_samples=functools.partial(samples.make_samples, model, found.phones, decoder, config),
    )


main = cli.train_command(train, Config)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
