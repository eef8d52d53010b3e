"""Scaling: workers of a training, a tf.data service, Apache Beam."""
