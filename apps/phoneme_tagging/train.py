"""Trains phoneme tagging: data set -> run directory.

python -m apps.phoneme_tagging.train --run-dir runs/phones [--preset tiny|small|paper]
"""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from apps.phoneme_tagging.config import APP, MONITOR, PRESETS, Config
from common import cli
from common.runs import RunDirectory

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
    import keras

    from apps.phoneme_tagging import data, initial
    from apps.phoneme_tagging.layers import Normalization
    from apps.phoneme_tagging.model import build_model
    from common import recurrent, strategies, training

    options = config.train
    strategy = training.start(
        seed=options.seed, deterministic=options.deterministic, strategy=options.strategy
    )
    run = RunDirectory.begin(
        run_dir,
        app=APP,
        config=config,
        resume=resume,
        dry_run=dry_run,
        writes=strategies.is_chief(strategy),
    )

    shown = data.make_training_data(
        config.data, config.model, config.augment, batch_size=options.batch_size
    )
    found = shown.found
    logger.info("%s: %s", config.data.name, shown.summary())

    keras.utils.set_random_seed(options.seed)
    with training.scope(strategy, options.precision):
        model = build_model(
            config.model,
            num_phones=len(found.phones),
            normalization=Normalization(found.mean, found.variance),
        )
    if options.init_from is not None:
        initial.copy_weights(options.init_from, model, found.phones)
    run.describe(app=APP, config=config, seed=options.seed, kernel=recurrent.kernel_in_use())
    found.phones.save(run.path / "vocab_phones.txt")
    run.write_json(
        "phone_counts.json",
        {"bigrams": found.bigrams.tolist(), "frames": found.frame_counts.tolist()},
    )
    history = _fit(model, shown, run, config)
    if dry_run:
        return run
    training.report_rates(
        shown.batches(seed=options.seed),
        shown.num_batches,
        history=history,
        num_examples=sum(found.lengths),
        unit="frames",
    )
    return run


def _fit(
    model: "keras.Model",
    shown: "data.TrainingData",
    run: RunDirectory,
    config: Config,
) -> list[dict[str, float]]:
    """Fits the network, from its last checkpoint on; the best goes to `model.keras`."""
    import keras

    from apps.phoneme_tagging import data, samples
    from apps.phoneme_tagging.model import Decoder, LanguageModel
    from apps.phoneme_tagging.validation import PhoneAccuracy
    from common import keeping, losses, optimizers, strategies, training

    options, ctc_weight, found = config.train, config.model.ctc_weight, shown.found
    every = {"logits": losses.WeightedCrossEntropy(), "ctc": keras.losses.CTC()}
    with training.scope(model.distribute_strategy):
        fitted = strategies.Model(model.input, model.output)
        fitted.compile(
            optimizer=optimizers.make_optimizer(
                options.learning_rate,
                schedule=options.schedule,
                warmup_steps=options.warmup_steps,
                total_steps=shown.num_batches * options.epochs,
                clip_norm=options.clip_norm,
                average=options.average,
                precision=options.precision,
            ),
            loss={name: every[name] for name in model.output},
            loss_weights={"logits": 1.0, "ctc": ctc_weight} if ctc_weight else None,
            weighted_metrics={"logits": ["accuracy"]},
        )
    keep = keeping.KeepRun(
        run,
        model,
        name="model",
        monitor=MONITOR,
        patience=options.patience,
        minutes=options.checkpoint_minutes,
    )
    decoder = Decoder(config.model, LanguageModel(found.bigrams, found.frame_counts))
    as_training = functools.partial(data.as_training, inputs=model.input, ctc=ctc_weight > 0)
    return training.fit(
        fitted,
        lambda epoch: shown.batches(seed=options.seed, first_epoch=epoch).map(as_training),
        keep,
        steps_per_epoch=shown.num_batches,
        epochs=options.epochs,
        num_examples=sum(found.lengths),
        unit="frames",
        validation_data=shown.validation.map(as_training),
        callbacks=[PhoneAccuracy(model, decoder, found.phones.tokens, shown.validation)],
        make_samples=functools.partial(samples.make_samples, model, found.phones, decoder, config),
    )


def main(
    *,
    run_dir: Path,
    config: Annotated[Config, cli.FLAT],
    preset: Literal["tiny", "small", "paper"] = "small",
    config_file: cli.ConfigFile = None,
    resume: bool = False,
    dry_run: bool = False,
) -> None:
    """Trains phoneme tagging and writes a run directory.

    Args:
        run_dir: New folder for the run.
        config: All options.
        preset: Where the defaults below come from: tiny (seconds), small (minutes), paper.
        config_file: A JSON file that they come from instead: a run's, or the best of `tune`.
        resume: Continue the run in --run-dir with its own options.
        dry_run: Take two steps, print the layers and the expected minutes, and leave nothing.
    """
    train(config, run_dir, resume=resume, dry_run=dry_run)


if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
