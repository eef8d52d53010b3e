"""Plots: figures of attention, images, curves and gates."""
