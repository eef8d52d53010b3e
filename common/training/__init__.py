"""Training: options, fit, optimizers, losses, checkpoints, logs, tuning, strategies."""
