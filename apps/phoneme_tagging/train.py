"""Trains phoneme tagging: data set -> run directory.

python -m apps.phoneme_tagging.train --run-dir runs/phones [--preset tiny|small|paper]
"""

import functools
import logging
from pathlib import Path

from apps.phoneme_tagging.config import APP, MONITOR, PRESETS, Config
from common.runs import cli
from common.runs.directory import RunDirectory

logger = logging.getLogger("cellstate")


def train(
    config: Config, run_dir: Path, *, resume: bool = False, dry_run: bool = False
) -> RunDirectory:
    """Trains the model.

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
    from apps.phoneme_tagging import data, predict
    from apps.phoneme_tagging.model import Normalization, Tagger, build_model, copy_weights
    from apps.phoneme_tagging.tagging.scoring import PhoneAccuracy
    from apps.phoneme_tagging.tagging.viterbi import Decoder
    from common.layers import recurrent
    from common.training import fit, losses
    from common.training.logging import NUM_SAMPLES

    options = config.train
    run, strategy = fit.start(run_dir, app=APP, config=config, resume=resume, dry_run=dry_run)

    train_data = data.make_training_data(
        config.data, config.model, config.augment, batch_size=options.batch_size
    )
    survey = train_data.survey
    logger.info("%s: %s", config.data.name, train_data.summary())

    with fit.scope(strategy, options):
        model = build_model(
            config.model,
            num_phones=len(survey.phones),
            normalization=Normalization(survey.mean, survey.variance),
        )
    if options.init_from is not None:
        copy_weights(options.init_from, model, survey.phones)
    decoder = Decoder(survey.counts)

    run.describe(app=APP, config=config, seed=options.seed, kernels=recurrent.kernels(model))
    survey.phones.save(run.path / "vocab_phones.txt")
    counts = {name: values.tolist() for name, values in survey.counts._asdict().items()}
    run.write_json("phone_counts.json", counts)

    def make_samples():
        records = data.load_split(config.data, "validation").take(NUM_SAMPLES)
        tagger = Tagger(model, survey.phones, decoder, config.model)
        return predict.make_samples(tagger, list(records.as_numpy_iterator()))

    as_training = functools.partial(data.as_training, inputs=model.input)
    fit.fit(
        model,
        model.output["logits"],
        run,
        options,
        batches=lambda epoch: train_data.batches(seed=options.seed, first_epoch=epoch).map(
            as_training
        ),
        steps_per_epoch=train_data.num_batches,
        validation_data=train_data.validation.map(as_training),
        loss=losses.WeightedCrossEntropy(),
        weighted_metrics=[losses.StepsAccuracy()],
        callbacks=[PhoneAccuracy(model, decoder, survey.phones.tokens, train_data.validation)],
        monitor=MONITOR,
        num_examples=sum(survey.lengths),
        unit="frames",
        make_samples=make_samples,
    )
    return run


main = cli.train_command(train, Config, PRESETS)

if __name__ == "__main__":
    cli.run(main, presets=PRESETS)
