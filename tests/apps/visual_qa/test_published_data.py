"""The published files themselves, where they are at hand: CELLSTATE_DATA names their folder."""

import os
from pathlib import Path

import pytest

from apps.visual_qa import formats


@pytest.mark.data
def test_daquar_has_the_official_number_of_training_pairs():
    folder = os.environ.get("CELLSTATE_DATA")
    if folder is None:
        pytest.skip("CELLSTATE_DATA is not set")
    by_image = formats.read_daquar(Path(folder) / "daquar" / "qa.894.raw.train.txt")
    assert sum(len(questions) for _, _, questions in by_image) == 6795
    assert not [path for _, path, _ in by_image if not path.exists()]
    asked = [one.question for _, _, questions in by_image for one in questions]
    assert not [question for question in asked if "image" in question and question[-1].isdigit()]
