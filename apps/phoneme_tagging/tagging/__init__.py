"""Frames to phones: augmentation, decoding, scoring, baselines and pictures."""
