"""How many seconds of speech one second of tagging and of training takes.

    python -m benchmarks.phoneme_speed --run-dir runs/phones

Tagging is the run's SavedModel, exported where it is not yet, at batch 1, features included.
Training is steps of the run's own network on batches that are there, without the input pipeline;
`train` logs that of its own.
"""

import datetime
import functools
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands
from common.runs import cli, files

APP = "phoneme_tagging"
STEPS = 100  # of training in a call, about those of an epoch of SMALL
SECONDS = (2.0, 5.0, 20.0)  # of speech, for tagging


def main(*, run_dir: Path, rounds: int = 7) -> None:
    """Prints the rates and writes results/phoneme_speed.json.

    Args:
        run_dir: Folder that `train` wrote.
        rounds: Timed turns of each; the median counts.
    """
    cli.start_tensorflow_quietly()
    report: dict[str, object] = {
        "command": " ".join(["python -m benchmarks.phoneme_speed", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
    }
    for name, measure in (("tagging", tagging), ("training", training)):
        report[f"{name}_times_real_time"] = measure(run_dir, rounds)
        print(name, report[f"{name}_times_real_time"], flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report["peak_gib"] = round(peak / 2**20, 2)
    files.write_json(commands.RESULTS / "phoneme_speed.json", report)


def tagging(run_dir: Path, rounds: int) -> dict[str, float]:
    """Times real time, by the length of the recording."""
    import tensorflow as tf

    from apps.phoneme_tagging.export import export
    from common.inputs.audio import SAMPLE_RATE

    folder = run_dir / "saved_model"
    path = folder if folder.exists() else export(run_dir)
    tag = tf.saved_model.load(str(path)).signatures["serving_default"]
    draw = np.random.default_rng(1)
    found = {}
    for seconds in SECONDS:
        size = int(seconds * SAMPLE_RATE)
        sound = tf.constant(draw.normal(0, 0.1, (1, size)).clip(-1, 1), tf.float32)
        ask = functools.partial(tag, waveform=sound, num_samples=tf.constant([size]))
        found[f"{seconds:g} s"] = round(seconds / _median(ask, rounds), 1)
    return found


def training(run_dir: Path, rounds: int) -> float:
    """Times real time of steps on batches of three seconds."""
    import keras
    import tensorflow as tf

    from apps.phoneme_tagging.config import Config
    from common.inputs.audio import FRAME_S
    from common.runs.directory import RunDirectory
    from common.training import losses
    from common.training.optimizers import ClippedAdam

    run = RunDirectory.open(run_dir, app=APP)
    network, batch, frames = run.load_model(), run.read_config(Config).train.batch_size, 300
    fitted = keras.Model(network.input, network.output["logits"])
    fitted.compile(ClippedAdam(1e-3, global_clipnorm=5.0), losses.WeightedCrossEntropy())
    inputs = {
        "features": tf.random.normal([batch, frames, network.input["features"].shape[-1]]),
        "frame_mask": tf.ones([batch, frames], tf.bool),
    }
    target, weight = tf.zeros([batch, frames], tf.int32), tf.ones([batch, frames])
    data = tf.data.Dataset.from_tensors((inputs, target, weight)).repeat(STEPS)
    taken = _median(lambda: fitted.fit(data, shuffle=False, verbose=0), rounds)
    return round(STEPS * batch * frames * FRAME_S / taken, 1)


def _median(call, rounds: int) -> float:
    call()
    call()
    taken = []
    for _ in range(rounds):
        begun = time.monotonic()
        call()
        taken.append(time.monotonic() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    tyro.cli(main)
