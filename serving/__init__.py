"""Serves exported SavedModels over TensorFlow Serving's REST interface (docs/guides/serving.md)."""
