"""Training on several GPUs or machines: the same weights as one process with the same batches."""

import contextlib
import json
import os
from collections.abc import Iterator

import keras
import tensorflow as tf

from common.runs.errors import UserError
from common.runs.registration import registered
from common.training.options import StrategyName


def make_strategy(name: StrategyName) -> tf.distribute.Strategy:
    """The strategy of a training. Call it before anything else of TensorFlow runs.

    Args:
        name: "none" is one device; "mirrored" all GPUs of this machine; "multi_worker" the
            machines of the environment variable TF_CONFIG, each of which runs the same command
            with the same folder for the run; "auto" the one of these that fits.

    Raises:
        UserError: TF_CONFIG is missing or broken.
    """
    if name == "auto":
        several = len(tf.config.list_physical_devices("GPU")) > 1
        name = "multi_worker" if "TF_CONFIG" in os.environ else "mirrored" if several else "none"
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    _check_tf_config()
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run: the only one, or the first worker."""
    resolver = strategy.cluster_resolver
    return resolver is None or resolver.task_type in (None, "chief") or resolver.task_id == 0


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every worker has called it."""
    if is_multi_worker(strategy):
        _add_up(strategy)


@contextlib.contextmanager
def chief_first(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Lets the other workers begin when the chief has finished: they read what it wrote."""
    if not is_chief(strategy):
        wait_for_all(strategy)
    yield
    if is_chief(strategy):
        wait_for_all(strategy)


@tf.function
def _add_up(strategy):
    return strategy.reduce("SUM", strategy.run(lambda: tf.constant(0.0)), axis=None)


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Whether other processes train the same model; not so in a cluster of one."""
    multi_worker = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return multi_worker and strategy.extended._in_multi_worker_mode()


def sum_over_replicas(value):
    """The sum of a tensor, or of each of a list, over all replicas of a step; else the value."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def read_by_all(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Makes every worker read all of `dataset` and take its share of each batch."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


@registered("common.training.strategies")
class Model(keras.Model):
    """A functional model that `fit` takes on several workers; make and compile it in their scope.

    Keras 3.15 makes the metrics in the first step, which is then traced twice: on one device they
    are made here, from the shapes of the data set. So they are on several of one machine, where
    TensorFlow could not make them in a step, and Keras would by the mean of the parts of a batch,
    which masks do not have. What a step reports to several workers Keras averages over an axis that
    single numbers do not have.

    Attributes:
        traces: how often TensorFlow has made a graph of the training step in this process.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.traces = 0
        self._counts = [keras.metrics.Sum(name=name) for name in ("real_steps", "all_steps")]

    def train_step(self, data):
        """Keras' step, which counts the padding too; what it reports as vectors."""
        self.traces += 1  # Python runs when a graph is made, and not again
        real, whole = self._counts
        for mask in tf.nest.flatten(data[0]):
            if mask.dtype == tf.bool:
                real.update_state(tf.math.count_nonzero(mask, dtype=tf.float32))
                whole.update_state(tf.size(mask))
        return self._reported(super().train_step(data))

    def count_steps(self) -> tuple[float, float]:
        """Real steps and all steps of this epoch, of the inputs that are masks.

        Of several workers: those of this worker, times their number. The sum over all would cost
        each training step a message.
        """
        strategy, steps = self.distribute_strategy, []
        for count in self._counts:
            totals = strategy.experimental_local_results(count.total.value)
            share = len(totals) / strategy.num_replicas_in_sync
            steps.append(sum(float(tf.convert_to_tensor(total)) for total in totals) / share)
        return steps[0], steps[1]

    def test_step(self, data):
        """Keras' step; what it reports as vectors."""
        return self._reported(super().test_step(data))

    def get_metrics_result(self):
        """Keras' metrics, without the counts: at the end of an epoch, those of all devices."""
        counts = {count.name for count in self._counts}
        metrics = super().get_metrics_result()
        return {name: value for name, value in metrics.items() if name not in counts}

    def _reported(self, logs):
        if not is_multi_worker(self.distribute_strategy):
            return logs
        return {name: tf.reshape(tf.convert_to_tensor(value), [1]) for name, value in logs.items()}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        metrics, strategy = self._compile_metrics, self.distribute_strategy
        if metrics is None or metrics.built or iterator is None or is_multi_worker(strategy):
            return
        spec = iterator.data_adapter.get_tf_dataset().element_spec
        targets = tf.nest.map_structure(
            lambda target: keras.KerasTensor(target.shape, target.dtype), spec[1]
        )
        with strategy.scope():
            metrics.build(targets, self.output)
            if not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)


def _check_tf_config() -> None:
    text = os.environ.get("TF_CONFIG")
    shape = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text or "null")
        workers, task = config["cluster"]["worker"], config["task"]
        if not (0 <= int(task["index"]) < len(workers)):
            raise UserError(
                f"expected the index of one of {len(workers)} workers in TF_CONFIG, got "
                f"{task['index']}: give each worker its own, from 0"
            )
    except (TypeError, KeyError, ValueError):
        raise UserError(
            f"expected {shape} in the environment variable TF_CONFIG, got {text!r:.80}: "
            "set it on every worker, or choose another --train.strategy"
        ) from None
