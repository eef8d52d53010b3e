"""Export: SavedModel, ONNX and LiteRT, each checked in a fresh process."""
