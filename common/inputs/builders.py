"""The base class of the data set builders of all apps."""

import tensorflow_datasets as tfds


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore[reportCallIssue, reportGeneralTypeIssues]
    """A `GeneratorBasedBuilder` that is not known by name.

    tensorflow-datasets registers each builder under its class name and refuses a second one, so
    that a copy of an app could not be imported beside the original.
    """

    def __init_subclass__(cls, **options):
        super().__init_subclass__(skip_registration=True, **options)
