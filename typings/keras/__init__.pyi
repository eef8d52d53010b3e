from typing import Any

from keras import ops as ops
from keras._tf_keras.keras import layers as layers
from keras._tf_keras.keras import losses as losses
from keras._tf_keras.keras import metrics as metrics
from keras._tf_keras.keras import optimizers as optimizers

# The rest is made at run time: what a model takes and gives, what `fit` accepts, the model of a
# callback.
def __getattr__(name: str) -> Any: ...
