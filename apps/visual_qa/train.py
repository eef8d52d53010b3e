"""Trains visual question answering: data set -> run directory.

python -m apps.visual_qa.train --run-dir runs/vqa [--preset tiny|small|photos|paper]
"""

import functools
import logging
from pathlib import Path

from apps.visual_qa.config import APP, MONITOR, PRESETS, Config
from common.inputs import tables
from common.runs import cli
from common.runs.directory import RunDirectory

logger = logging.getLogger("cellstate")


def train(
    config: Config, run_dir: Path, *, resume: bool = False, dry_run: bool = False
) -> RunDirectory:
    """Trains the model and, on the same questions, its question-only rival.

    `run_dir` is a new folder or, with `resume`, that of an interrupted run; `dry_run` takes two
    steps, tells what the whole would take, and leaves nothing.

    Raises:
        UserError: the data is missing or damaged, or the folder does not fit.
    """
    # TensorFlow starts here, not above: `--help` and a misspelt option need not wait for it.
    from apps.visual_qa import data, predict
    from apps.visual_qa import model as models
    from common.layers import embeddings, recurrent
    from common.training import fit, losses, strategies

    options, on_prior = config.train, config.model.fusion == "question_prior"
    run, strategy = fit.start(run_dir, app=APP, config=config, resume=resume, dry_run=dry_run)

    train_data = data.make_training_data(
        config.data,
        image_size=None if on_prior else config.model.image_size,
        batch_size=options.batch_size,
        questions_per_image=options.questions_per_image,
    )
    words, answers = train_data.survey.vocabularies
    logger.info("%s: %s", config.data.name, train_data.summary())
    vectors = None
    if config.model.word_vectors == "glove":
        vectors = embeddings.load_word_vectors(words.tokens).matrix

    networks = {}
    # The rival is trained the same way, for `evaluate` to set beside the model.
    for name, build in (
        (models.QUESTION_ONLY, models.build_question_only),
        ("model", models.build_model),
    ):
        with fit.scope(strategy, options):
            networks[name] = build(
                config.model, num_words=len(words), num_answers=len(answers), word_vectors=vectors
            )

    run.describe(
        app=APP, config=config, seed=options.seed, kernels=recurrent.kernels(networks["model"])
    )
    words.save(run.path / "vocab_words.txt")
    answers.save(run.path / "vocab_answers.txt")

    def make_samples():
        limit = config.data.max_question_words
        answerer = models.Answerer(networks["model"], words, answers, max_question_words=limit)
        records = data.load_split(config.data, "validation")
        return predict.make_samples(predict.Predictor(answerer), records)

    head = models.trained_part(networks["model"])
    if on_prior:
        with strategies.chief_first(strategy):  # it computes the features
            encoder = models.pooled_encoder(networks["model"])
            train_data, seen = data.with_features(train_data, config.data, encoder)
        head.get_layer("evidence").adapt(seen.values)

    for name, network in networks.items():
        if on_prior and name == "model" and not dry_run:
            rival = run.load_model(f"{models.QUESTION_ONLY}.keras")
            head.get_layer(models.QUESTION_ONLY).set_weights(rival.get_weights())
        trained = models.trained_part(network)
        as_training = functools.partial(data.as_training, inputs=trained.input)
        fit.fit(
            network,
            trained.output["logits"],  # attention has no target
            run,
            options if name == "model" else options.of_question_only(),
            name=name,
            inputs=trained.input,
            batches=lambda epoch, as_training=as_training: train_data.batches(
                seed=options.seed, first_epoch=epoch
            ).map(as_training),
            steps_per_epoch=train_data.num_batches,
            validation_data=train_data.validation.map(as_training),
            loss=losses.WeightedCrossEntropy(),
            weighted_metrics=["accuracy", losses.LargestShare(len(answers))],
            monitor=MONITOR,
            num_examples=train_data.survey.num_images,
            unit="images",
            make_samples=make_samples if name == "model" else None,  # the rival has no picture
        )
    return run


def choose_preset(name: str | None, root: Path | None) -> str:
    """The preset for a data set: photos where most images have 200 pixels and more."""
    is_large = name == "folder" and root is not None and tables.median_side(root) >= 200
    return "photos" if is_large or name in ("daquar", "vqa_v2") else "small"


main = cli.train_command(train, Config, PRESETS)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS, choose=choose_preset)
