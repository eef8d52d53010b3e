"""The steps of every training: `start`, `scope`, `fit`."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import keras
import tensorflow as tf

from common.lstm.layer import machine_code
from common.runs import cli
from common.runs.directory import RunDirectory
from common.training import dry_run, optimizers, strategies
from common.training.checkpoints import Checkpointing
from common.training.logging import Samples, TrainingLog
from common.training.options import Options, Precision


class Config(Protocol):
    """The options of an app, of which `train` are those of its training."""

    @property
    def train(self) -> Options: ...


def start(
    run_dir: Path, *, app: str, config: Config, resume: bool = False, dry_run: bool = False
) -> tuple[RunDirectory, tf.distribute.Strategy]:
    """Begins a training: seeds Python, NumPy and TensorFlow, and opens the run directory.

    Returns the run, and the strategy whose `scope` the networks need.

    Raises:
        UserError: `run_dir` does not fit (see `RunDirectory.begin`), or TF_CONFIG is broken.
    """
    options = config.train
    strategy = seed_and_choose_strategy(options)
    run = RunDirectory.begin(
        run_dir,
        app=app,
        config=config,
        resume=resume,
        dry_run=dry_run,
        writes=strategies.is_chief(strategy),
    )
    return run, strategy


def seed_and_choose_strategy(options: Options) -> tf.distribute.Strategy:
    """Seeds everything; by option makes every operation reproducible. Returns the strategy."""
    strategy = strategies.make_strategy(options.strategy)
    keras.utils.set_random_seed(options.seed)
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    return strategy


@contextlib.contextmanager
def scope(strategy: tf.distribute.Strategy, options: Options) -> Iterator[None]:
    """Where a network is built: from the seed, for `strategy`, its products in the precision.

    Weights stay float32, and so does every layer that says so, as those of logits do.
    """
    keras.utils.set_random_seed(options.seed)
    with dtype_policy(options.precision), strategy.scope():
        yield


@contextlib.contextmanager
def dtype_policy(precision: Precision) -> Iterator[None]:
    """Layers that are made meanwhile have their products in `precision`, their weights float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fit(
    network: keras.Model,
    outputs,
    run: RunDirectory,
    options: Options,
    *,
    batches: Callable[[int], tf.data.Dataset],
    steps_per_epoch: int,
    loss,
    monitor: str,
    num_examples: int,
    unit: str,
    name: str = "model",
    inputs: Mapping | None = None,
    metrics: Sequence | Mapping | None = None,
    weighted_metrics: Sequence | Mapping | None = None,
    validation_data: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    make_samples: Callable[[], Samples] | None = None,
) -> list[dict[str, float]]:
    """Compiles and fits a network by the options; the epoch to keep goes to `<name>.keras`.

    It continues from the last checkpoint, if there is one. In a dry run it takes two steps, and
    logs the layers and how long the whole would take.

    Args:
        network: built in the `scope` of a strategy; it is saved whole.
        outputs: those of its outputs that have a target, a tensor or a dict of them.
        batches: gives the endless batches from this epoch on, in an order that is a function of
            the epoch alone: (inputs, target) or (inputs, target, weight).
        loss, metrics, weighted_metrics: as in `keras.Model.compile`.
        monitor: the metric that chooses the best epoch, higher is better.
        num_examples, unit: in an epoch, and what they are, for the log of how many a second.
        name: of the network; the history of "model" is history.csv.
        inputs: those of a part of the network that alone is trained; by default the network's.
        validation_data: finite batches.
        callbacks: called before checkpoints are written; they may add metrics to the epoch's logs.
        make_samples: makes a function that gives validation examples for TensorBoard.

    Returns:
        The history, a row for each epoch; empty after a dry run.
    """
    with network.distribute_strategy.scope():
        model = strategies.Model(inputs or network.input, outputs)
        model.compile(
            optimizer=optimizers.make_optimizer(
                options.learning_rate,
                schedule=options.schedule,
                warmup_steps=options.warmup_steps,
                total_steps=steps_per_epoch * options.epochs,
                clip_norm=options.clip_norm,
                average=options.average,
                weight_decay=options.weight_decay,
                precision=options.precision,
            ),
            loss=loss,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
        )
    keras.utils.set_random_seed(options.seed)
    return run_epochs(
        model,
        batches,
        Checkpointing(
            run,
            network,
            name=name,
            monitor=monitor,
            patience=options.patience,
            keep=options.keep,
            minutes=options.checkpoint_minutes,
        ),
        steps_per_epoch=steps_per_epoch,
        epochs=options.epochs,
        num_examples=num_examples,
        unit=unit,
        validation_data=validation_data,
        callbacks=callbacks,
        make_samples=make_samples,
    )


def run_epochs(
    model: keras.Model,
    batches: Callable[[int], tf.data.Dataset],
    checkpointing: Checkpointing,
    *,
    steps_per_epoch: int,
    epochs: int,
    num_examples: int,
    unit: str,
    validation_data: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    make_samples: Callable[[], Samples] | None = None,
) -> list[dict[str, float]]:
    """Fits a compiled model from its last checkpoint on; arguments and result as those of `fit`."""
    run, name, strategy = checkpointing.run, checkpointing.name, model.distribute_strategy
    checkpointing.restore(model)
    if run.dry_run:
        dry_run.report(model, batches(0), name=name, num_batches=steps_per_epoch * epochs)
        return []
    if validation_data is not None:
        validation_data = strategies.read_by_all(validation_data)
    log = TrainingLog(
        run,
        name=name,
        unit=unit,
        num_examples=num_examples,
        num_batches=steps_per_epoch,
        make_samples=make_samples,
    )
    # On several devices the pipeline is copied and reads ahead: waiting could not be measured.
    watch = log.watch if strategy.num_replicas_in_sync == 1 else lambda dataset: dataset
    while checkpointing.first_epoch < epochs and not checkpointing.finished:
        first_epoch, first_batch = checkpointing.first_epoch, checkpointing.first_batch
        # The rest of a broken epoch is an epoch of its own to Keras, for it has fewer batches.
        with machine_code():  # for validation
            model.fit(
                strategies.read_by_all(watch(batches(first_epoch).skip(first_batch))),
                validation_data=validation_data,
                steps_per_epoch=steps_per_epoch - first_batch,
                initial_epoch=first_epoch,
                epochs=first_epoch + 1 if first_batch else epochs,
                shuffle=False,  # the data set is in a random order already
                callbacks=[*callbacks, *([log] if run.writes else []), checkpointing],
                verbose=cli.bars(),
            )
    strategies.wait_for_all(strategy)  # for the files of the best model
    return checkpointing.history
