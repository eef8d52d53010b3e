"""The networks of translation, its rivals and its plots."""
