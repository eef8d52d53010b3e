"""Readers of the data sets of translation: official files -> pairs of texts."""
