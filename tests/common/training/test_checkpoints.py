"""Facts about checkpoints: whole or not there, two at a time, damaged ones passed over."""

import keras
import numpy as np
import pytest

from common.runs.errors import UserError
from common.training.checkpoints import Checkpoints


def build_model() -> keras.Model:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Dense(1)(inputs)))
    model.compile(optimizer=keras.optimizers.Adam(), loss="mse")
    return model


def save(checkpoints: Checkpoints, model: keras.Model, *steps: int) -> None:
    """Checkpoints whose variables all hold the number of the step."""
    for step in steps:
        for variable in (*model.variables, *model.optimizer.variables):
            variable.assign(np.full(variable.shape, step))
        checkpoints.save({"step": step})


def values(model: keras.Model) -> set[float]:
    """The distinct values in weights, optimizer and seeds; learning rate apart."""
    variables = (*model.variables, *model.optimizer.variables)
    others = [variable for variable in variables if "learning" not in variable.path]
    return {float(number) for variable in others for number in np.ravel(variable.numpy())}


def saved_steps(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_weights_optimizer_and_dropout_seeds_come_back(tmp_path):
    model = build_model()
    save(Checkpoints(tmp_path, model), model, 7)
    other = build_model()
    assert Checkpoints(tmp_path, other).restore() == {"step": 7}
    assert values(other) == {7.0}


# Where TensorFlow looks for a checkpoint, these have a meaning of their own.
NAMES = (
    "a*",
    "?",
    "run [1]",
    "[a-",
    "[",
    "back\\slash",
    "#1",
    "50%",
    "a b",
    "'\"",
    "é{x}",
    "$HOME",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_continues_in_a_folder_of_any_name(tmp_path, name):
    (model, again), folder = (build_model(), build_model()), tmp_path / name / "model"
    save(Checkpoints(folder, model), model, 1, 2)
    assert Checkpoints(folder, again).restore() == {"step": 2}
    assert values(again) == {2.0}
    assert saved_steps(folder) == ["1", "2"]


def test_the_last_two_are_there(tmp_path):
    model = build_model()
    save(Checkpoints(tmp_path, model), model, 5, 9, 10, 11)
    assert saved_steps(tmp_path) == ["10", "11"]


def test_there_is_nothing_to_restore_in_a_new_folder(tmp_path):
    assert Checkpoints(tmp_path / "new", build_model()).restore() is None


@pytest.mark.parametrize("part", ["weights.index", "weights.data-00000-of-00001", "state.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, None])
def test_a_damaged_one_is_named_and_the_one_before_it_used(tmp_path, caplog, part, share):
    model = build_model()
    save(Checkpoints(tmp_path, model), model, 3, 4)
    damaged = tmp_path / "4" / part
    whole = damaged.read_bytes()
    # Cut short, or its second half overwritten.
    damaged.write_bytes(
        whole[: int(share * len(whole))]
        if share is not None
        else whole[: len(whole) // 2].ljust(len(whole), b"\0")
    )
    other = build_model()
    assert Checkpoints(tmp_path, other).restore() == {"step": 3}
    assert values(other) == {3.0}
    assert f"{tmp_path / '4'} is damaged" in caplog.text
    save(Checkpoints(tmp_path, other), other, 4)  # the step is done again
    assert saved_steps(tmp_path) == ["3", "4"]


def test_only_damaged_ones_are_a_users_error(tmp_path):
    model = build_model()
    save(Checkpoints(tmp_path, model), model, 3, 4)
    for state in tmp_path.rglob("state.json"):
        state.write_text("{")
    with pytest.raises(UserError, match="found only damaged ones: start another run"):
        Checkpoints(tmp_path, build_model()).restore()


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path):
    model = build_model()
    save(Checkpoints(tmp_path, model), model, 3)
    (tmp_path / ".writing-x" / "4").mkdir(parents=True)
    assert Checkpoints(tmp_path, build_model()).restore() == {"step": 3}
    assert saved_steps(tmp_path) == ["3"]
