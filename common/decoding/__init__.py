"""Decoding: sampling and beam search over a step function, and their rules."""
