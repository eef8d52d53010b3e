"""Recurrent layers and cells, attention, pooling, embeddings and image encoders.

Importing the package makes its layers known to Keras, so that a `.keras` file with them loads.
"""

from common.layers import attention as attention
from common.layers import recurrent as recurrent
