"""Decoding: greedy, sampling and beam search over a step function."""
