"""Applications, one folder each: templates that a person copies. None imports another."""
