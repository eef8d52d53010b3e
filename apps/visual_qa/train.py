"""Trains visual question answering: data set -> run directory.

python -m apps.visual_qa.train --run-dir runs/vqa [--preset tiny|small|paper] [--data.name ...]
"""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from apps.visual_qa.config import APP, MONITOR, PRESETS, Config
from common import cli
from common.runs import RunDirectory

if TYPE_CHECKING:
    import keras

    from apps.visual_qa import data

logger = logging.getLogger("cellstate")


def train(
    config: Config, run_dir: Path, *, resume: bool = False, dry_run: bool = False
) -> RunDirectory:
    """Trains the model and, on the same questions, its question-only rival.

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

    from apps.visual_qa import data
    from apps.visual_qa.model import Sizes, build_model, build_question_only
    from common import embeddings, recurrent, strategies, training

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
        config.data,
        image_size=config.model.image_size,
        batch_size=options.batch_size,
        questions_per_image=options.questions_per_image,
    )
    words, answers = shown.found.vocabularies
    logger.info("%s: %s", config.data.name, shown.summary())
    vectors = None
    if config.model.word_vectors == "glove":
        vectors, coverage, _ = embeddings.load_word_vectors(words.tokens)
        logger.info("glove: vectors for %.1f%% of the words", 100 * coverage)

    sizes = Sizes(num_words=len(words), num_answers=len(answers))
    networks = {}
    # The blind rival is trained the same way, for `evaluate` to set beside the model.
    for name, build in (("question_only", build_question_only), ("model", build_model)):
        keras.utils.set_random_seed(options.seed)
        with training.scope(strategy, options.precision):
            networks[name] = build(config.model, sizes, word_vectors=vectors)

    run.describe(app=APP, config=config, seed=options.seed, kernel=recurrent.kernel_in_use())
    words.save(run.path / "vocab_words.txt")
    answers.save(run.path / "vocab_answers.txt")
    history = []
    for name, model in networks.items():
        keras.utils.set_random_seed(options.seed)
        history = _fit(model, shown, run, config, name=name)
    if dry_run:
        return run
    training.report_rates(
        shown.batches(seed=options.seed),
        shown.num_batches,
        history=history,
        num_examples=shown.found.num_images,
        unit="images",
    )
    return run


def _fit(
    model: "keras.Model",
    shown: "data.TrainingData",
    run: RunDirectory,
    config: Config,
    *,
    name: str,
) -> list[dict[str, float]]:
    """Fits one network, from its last checkpoint on; the best goes to `<name>.keras`."""
    from apps.visual_qa import data, samples
    from apps.visual_qa.validation import LargestShare
    from common import keeping, losses, optimizers, strategies, training

    options, found = config.train, shown.found
    strategy, logits = model.distribute_strategy, model.output["logits"]
    with training.scope(strategy):
        fitted = strategies.Model(model.input, logits)  # attention has no target
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
            loss=losses.WeightedCrossEntropy(),
            weighted_metrics=["accuracy", LargestShare(logits.shape[-1])],
        )
    keep = keeping.KeepRun(
        run,
        model,
        name=name,
        monitor=MONITOR,
        patience=options.patience,
        minutes=options.checkpoint_minutes,
    )
    as_training = functools.partial(data.as_training, inputs=model.input)
    sampled = functools.partial(samples.make_samples, model, found.vocabularies, config)
    return training.fit(
        fitted,
        lambda epoch: shown.batches(seed=options.seed, first_epoch=epoch).map(as_training),
        keep,
        steps_per_epoch=shown.num_batches,
        epochs=options.epochs,
        num_examples=found.num_images,
        unit="images",
        validation_data=shown.validation.map(as_training),
        make_samples=sampled if name == "model" else None,  # the rival has no picture
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
    """Trains visual question answering and writes a run directory.

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
