"""The names by which Keras saves classes of this project."""

import keras


def registered(needed: str):
    """Makes a class known to Keras, saved by a name that says what its loading needs.

    Keras shows this name where it does not know the class; it says nothing else of its own. Files
    of before have the name `cellstate>CLASS`.

    Args:
        needed: what is to be imported.
    """

    def register(kind):
        for package in ("cellstate", f"cellstate, first `import {needed}`"):
            keras.saving.register_keras_serializable(package)(kind)
        return kind

    return register
