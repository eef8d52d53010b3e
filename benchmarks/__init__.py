"""Measurements of the apps, each run through their own commands."""
