"""Times our LSTM as a SavedModel has it beside Keras' own, by batch, length, directions, padding.

    python -m benchmarks.recurrent_exported

They take turns as in recurrent_speed.py. Ragged: lengths between 30 and 100 %.
"""

import datetime
import itertools
import time
from collections.abc import Callable

import tyro

from benchmarks import commands
from benchmarks.recurrent_speed import Shape, ragged_lengths, take_turns
from common.runs import cli, directory, files

BATCHES, LENGTHS = (1, 4, 8, 32, 128), (12, 100, 300)


def main(*, rounds: int = 2, input_dim: int = 128, units: int = 128) -> None:
    """Prints milliseconds of a forward pass and writes results/recurrent_exported.json.

    Args:
        rounds: Turns of each; one more comes before them.
        input_dim: Size of the inputs.
        units: Size of the state, for each direction.
    """
    cli.start_tensorflow_quietly()
    rows = []
    for both, is_ragged, length, batch in itertools.product(
        (False, True), (False, True), LENGTHS, BATCHES
    ):
        shape = Shape(batch, length, input_dim, units, both, 1)
        calls = make_calls(shape, is_ragged=is_ragged)
        seconds = take_turns({name: {"exported": call} for name, call in calls.items()}, rounds)
        row = {"ragged": is_ragged, **shape._asdict(), "seconds": seconds["exported"]}
        rows.append(row)
        times = "  ".join(f"{name} {1e3 * s:.2f}" for name, s in row["seconds"].items())
        print("ragged" if is_ragged else "full", shape, times, flush=True)
    machine = directory.environment(seed=1)
    report = {
        "command": "python -m benchmarks.recurrent_exported",
        "date": datetime.date.today().isoformat(),
        "git_commit": machine["git_commit"],
        "processor": machine["processor"],
        "rows": rows,
    }
    files.write_json(commands.RESULTS / "recurrent_exported.json", report)


def make_calls(shape: Shape, *, is_ragged: bool) -> dict[str, Callable[[], float]]:
    """Forward passes by name, each giving its seconds."""
    import keras
    import tensorflow as tf

    from common.lstm import layer as fast_lstm

    inputs = tf.random.normal([shape.batch, shape.time, shape.input_dim])
    mask = tf.sequence_mask(ragged_lengths(shape), shape.time) if is_ragged else None
    calls = {}
    for name, kinds in {"ours": fast_lstm, "keras": keras.layers}.items():
        layer = kinds.LSTM(shape.units, return_sequences=True, zero_output_for_mask=True)
        layer = kinds.Bidirectional(layer) if shape.bidirectional else layer

        def run(values, mask=None, layer=layer):
            return layer(values, mask=mask)

        # A batch of any size and length, as in a SavedModel.
        arguments = [inputs] if mask is None else [inputs, mask]
        specs = [tf.TensorSpec([None, None, *t.shape[2:]], t.dtype) for t in arguments]
        compiled = tf.function(run, input_signature=specs)

        def timed(compiled=compiled, arguments=arguments) -> float:
            begun = time.perf_counter()
            compiled(*arguments).numpy()
            return time.perf_counter() - begun

        calls[name] = timed
    return calls


if __name__ == "__main__":
    tyro.cli(main)
