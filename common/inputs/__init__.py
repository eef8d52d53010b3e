"""Inputs: text, images, sound, tables and data sets -> tf.data batches."""
