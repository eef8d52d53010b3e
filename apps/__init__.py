"""Application templates: one folder each, the same files in all (docs/architecture.md)."""
