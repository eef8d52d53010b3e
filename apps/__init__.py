"""Application templates: one folder each, the same anatomy in all (docs/adding_an_app.md)."""
