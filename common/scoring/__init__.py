"""Scoring: metrics and the result of an evaluation."""
