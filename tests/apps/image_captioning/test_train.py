import random

import keras

from apps.image_captioning import data
from apps.image_captioning.captioning import features


def test_the_encoder_is_the_same_whatever_preparing_the_data_drew(
    tiny_run, run_command, tiny_options, tmp_path, monkeypatch
):
    usual, load_split = tiny_run("image_captioning"), data.load_split

    def prepare(*arguments):
        random.random()
        return load_split(*arguments)

    monkeypatch.setattr(data, "load_split", prepare)
    options = (*tiny_options(tmp_path / "run"), "--train.epochs", "1")
    run_command("image_captioning", "train", *options)
    drawn, other = (
        features.checksum(keras.saving.load_model(run / "encoder.keras"))
        for run in (tmp_path / "run", usual)
    )
    assert drawn == other
