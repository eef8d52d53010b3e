"""Adam with a schedule, clipping that is counted, and averaged weights."""

from typing import Any

import keras
import tensorflow as tf

from common.runs.registration import registered
from common.training import strategies
from common.training.options import Precision, Schedule


def make_optimizer(
    learning_rate: float,
    *,
    schedule: Schedule,
    warmup_steps: int,
    total_steps: int,
    clip_norm: float,
    average: float,
    weight_decay: float = 0.0,
    precision: Precision = "float32",
) -> keras.optimizers.Optimizer:
    """Adam by the options of these names, see `options.Options`; `total_steps` of the training.

    Cosine: Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983; inverse root: Vaswani et al.
    2017, https://arxiv.org/abs/1706.03762. `average` is the decay of the moving average of the
    weights (Polyak & Juditsky 1992, https://doi.org/10.1137/0330046), which `Checkpointing`
    validates and saves. The decay of the weights is decoupled from the gradient (Loshchilov &
    Hutter 2019, https://arxiv.org/abs/1711.05101); biases and scales have none.
    "float16" scales the loss, so that small gradients are not lost (Micikevicius et al. 2018,
    https://arxiv.org/abs/1710.03740).
    """
    rate: Any  # Keras' annotation names a float alone
    if schedule == "inverse_root":
        rate = InverseRoot(learning_rate, warmup_steps)
    else:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else learning_rate,
            decay_steps=max(total_steps - warmup_steps, 1),
            warmup_target=learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    decay = {"weight_decay": weight_decay} if weight_decay else {}
    averaged = {"use_ema": True, "ema_momentum": average} if average else {}
    adam = ClippedAdam(rate, global_clipnorm=clip_norm, **decay, **averaged)
    return keras.optimizers.LossScaleOptimizer(adam) if precision == "float16" else adam


@registered("common.training.optimizers")
class InverseRoot(keras.optimizers.schedules.LearningRateSchedule):
    """highest * min((step + 1) / warmup, sqrt(warmup / (step + 1))), warmup at least 1."""

    def __init__(self, highest: float, warmup_steps: int):
        self.highest, self.warmup_steps = highest, warmup_steps

    def __call__(self, step):
        """The learning rate, float32."""
        risen = (tf.cast(step, "float32") + 1) / max(self.warmup_steps, 1)
        return self.highest * tf.minimum(risen, tf.math.rsqrt(risen))

    def get_config(self):
        """The arguments."""
        return {"highest": self.highest, "warmup_steps": self.warmup_steps}


@registered("common.training.optimizers")
class ClippedAdam(keras.optimizers.Adam):
    """Keras' Adam; `num_clipped` counts the steps whose gradients it clipped.

    Pascanu et al. 2013, https://arxiv.org/abs/1211.5063. All gradients together are scaled down to
    the norm `global_clipnorm`; without it nothing is clipped. `gradient_norm` is that of the last
    step, before clipping.

    Where the weights are averaged (`use_ema`), `swap_averages` exchanges them with their averages.
    """

    def build(self, variables):
        """Makes the counters beside Adam's own variables."""
        if not self.built:
            self.exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
            self.num_clipped = self.add_variable((), dtype="int32", name="num_clipped")
            self.gradient_norm = self.add_variable((), dtype="float32", name="gradient_norm")
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        """Counts; Keras clips and updates."""
        if not self.built:
            self.build(trainable_variables)
        places = [place for place, gradient in enumerate(grads) if gradient is not None]
        summed = strategies.sum_over_replicas([tf.convert_to_tensor(grads[i]) for i in places])
        norm = tf.linalg.global_norm(summed)
        limit = float("inf") if self.global_clipnorm is None else self.global_clipnorm
        clipped = norm > limit
        self.num_clipped.assign_add(tf.cast(clipped, "int32"))
        self.gradient_norm.assign(norm)
        grads = list(grads)
        for place, gradient in zip(places, summed, strict=True):
            grads[place] = gradient
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        """Keras' update in one pass over the weights; Keras itself makes a tensor of each term."""
        place = self._get_variable_index(variable)
        iterations: Any = self.iterations
        step = tf.cast(iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
        )

    def _all_reduce_sum_gradients(self, grads_and_vars):
        """Leaves them as they are: `apply` has added them up over replicas, for their norm."""
        return [pair for pair in grads_and_vars if pair[0] is not None]

    def swap_averages(self):
        """Exchanges the trained weights with their averages; a second call puts them back."""
        for weight, average in zip(
            self._trainable_variables, self._model_variables_moving_average, strict=True
        ):
            trained = tf.identity(weight)
            weight.assign(average)
            average.assign(trained)

    def finalize_variable_values(self, var_list):
        """Leaves the weights as they are: `fit` calls this, and may go on in another call."""
