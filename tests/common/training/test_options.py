"""Facts about the options that every training has."""

import re
from dataclasses import dataclass, fields

import pytest

from common.runs import cli
from common.training.options import Options


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    """The options of an app: another default, and one of its own."""

    epochs: int = 3
    questions: int = 16
    """In an example."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"expected train\.epochs of at least 1, got 0"),
        ({"batch_size": -1}, r"expected train\.batch_size of at least 1, got -1"),
        ({"average": 1.0}, r"expected train\.average in \[0, 1\), got 1\.0"),
        ({"warmup_steps": -1}, r"expected train\.warmup_steps of at least 0, got -1"),
    ],
)
def test_a_value_that_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


def train(train: TrainConfig = TrainConfig()) -> None:
    """A command with these options."""


def test_help_explains_every_option_also_where_an_app_has_another_default(capsys):
    with pytest.raises(SystemExit):
        cli.parse(train, ["--help"])
    text = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    assert "--train.epochs INT At most, each one pass" in text
    blocks = re.split(r" --train\.(?!no-)", text)[1:]
    assert len(blocks) == len(fields(TrainConfig))
    assert [block for block in blocks if ". (default: " not in block] == []
