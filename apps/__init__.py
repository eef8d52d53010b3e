"""Application templates: one folder each, the same anatomy in all (docs/guides/adding_an_app.md)."""
