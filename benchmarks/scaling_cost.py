"""Measures the terms of cost_model.py with visual question answering at SMALL, and projects them.

    python -m benchmarks.scaling_cost

One thread a process: steps of two batch sizes, the input alone, and sums of tensors between two
processes on loopback. Two processes that train together say how true the model is.
"""

import datetime
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands, cost_model
from common.runs import cli, files
from common.scaling import launcher

BATCH, EPOCHS, IMAGES, ROUNDS = 16, 4, 512, 15
LARGER = 256  # another batch of a worker to project
SUMMED = ((1, 2**10), (8, 2**10), (24, 2**10), (1, 2**20), (1, 2**22), (1, 2**24))  # sums, bytes
# Two for operations, of which one may wait for the other process; a single core, see `_pin`.
ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "2",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # as in every process with TF_CONFIG
}


def main(
    *,
    gigabytes_per_second: float = 1.25,
    images: int = 4000,
    check: bool = True,
    part: str = "",
    out: Path = Path(),
) -> None:
    """Prints what stands in docs/guides/scaling.md and writes results/scaling_cost.json.

    Args:
        gigabytes_per_second: Of the network between the projected workers; 1.25 is 10 Gbit.
        images: Of a projected epoch.
        check: Train two workers together, too, to compare their steps with the model.
        part: For the processes of the benchmark itself.
        out: Likewise.
    """
    if part:
        _pin()
        cli.start_tensorflow_quietly()
        measured = _sum() if part == "sum" else _train(int(part), out)
        if measured is not None:
            files.write_json(out / "measured.json", measured)
        return
    os.environ.update(ONE_THREAD)
    with tempfile.TemporaryDirectory() as name:
        half, whole = (_measured(Path(name), str(batch)) for batch in (BATCH // 2, BATCH))
        sums = _measured(Path(name), "sum", workers=2)
        together = _measured(Path(name), str(BATCH), workers=2) if check else None
    cost = cost_model.fit_cost(half, whole, sums, batch=BATCH)
    network = cost.all_reduce._replace(speed=1e9 * gigabytes_per_second)
    projected = cost._replace(all_reduce=network)
    report = {
        "command": " ".join(["python -m benchmarks.scaling_cost", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores, one thread a process",
        "batch": BATCH,
        "cost": {**cost._asdict(), "all_reduce": cost.all_reduce._asdict()},
        "sums": sums,
        "two_workers": {
            "predicted_step": cost.step(workers=2, batch=BATCH / 2),
            "measured_step": together and together["step"],
        },
        "network_gigabytes_per_second": gigabytes_per_second,
        "epochs": cost_model.project(projected, batch=BATCH, examples=images),
        "larger_batch": LARGER,
        "epochs_of_larger_batches": cost_model.project(projected, batch=LARGER, examples=images),
    }
    files.write_json(commands.RESULTS / "scaling_cost.json", report)
    print(cost_model.as_markdown(report))


def _pin() -> None:
    """Gives this process a core of its own."""
    task = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))["task"]
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[task["index"]]})


def _measured(folder: Path, part: str, *, workers: int = 1):
    """What the processes of a part measure."""
    out = folder / f"{part}-{workers}"
    line = [sys.executable, "-m", "benchmarks.scaling_cost", "--part", part, "--out", str(out)]
    out.mkdir()
    # A cluster of one would be another program than a training without any.
    alone = workers == 1
    code = subprocess.run(line).returncode if alone else launcher.launch(line, workers=workers)
    if code:
        sys.exit(code)
    return files.read_json(out / "measured.json")


def _sum() -> list[dict] | None:
    """Seconds of sums over all workers, by their number and bytes; of the first worker."""
    import tensorflow as tf

    from common.training import strategies

    strategy = strategies.make_strategy("multi_worker")
    rows = []
    for sums, size in SUMMED:

        def add(sums=sums, size=size):
            value = tf.zeros([size // sums // 4])
            for _ in range(sums):  # each of the result of the one before: one after another
                value = strategies.sum_over_replicas(value)
            return value

        step = tf.function(lambda add=add: strategy.run(add), autograph=False)
        seconds = []
        for _ in range(ROUNDS + 3):
            begun = time.monotonic()
            step()
            seconds.append(time.monotonic() - begun)
        rows.append({"sums": sums, "bytes": size, "seconds": statistics.median(seconds[3:])})
    return rows if strategies.is_chief(strategy) else None


def _train(batch_size: int, folder: Path) -> dict | None:
    """Seconds of a step and of its input, at the end of a training; of the first worker."""
    from apps.visual_qa import config, data, model
    from common.runs.directory import RunDirectory
    from common.training import fit, losses, strategies

    small = config.SMALL
    options = replace(small.train, batch_size=batch_size, epochs=EPOCHS, patience=EPOCHS)
    strategy = fit.seed_and_choose_strategy(options)
    run = RunDirectory(folder, writes=strategies.is_chief(strategy))
    train_data = data.make_training_data(
        replace(small.data, max_images=IMAGES),
        image_size=small.model.image_size,
        batch_size=batch_size,
        questions_per_image=options.questions_per_image,
    )
    words, answers = train_data.survey.vocabularies
    with fit.scope(strategy, options):
        network = model.build_model(
            small.model, num_words=len(words), num_answers=len(answers), word_vectors=None
        )
    as_training = functools.partial(data.as_training, inputs=network.input)
    history = fit.fit(
        network,
        network.output["logits"],
        run,
        options,
        batches=lambda epoch: train_data.batches(seed=1, first_epoch=epoch).map(as_training),
        steps_per_epoch=train_data.num_batches,
        validation_data=train_data.validation.map(as_training),
        loss=losses.WeightedCrossEntropy(),
        weighted_metrics=["accuracy", losses.LargestShare(len(answers))],
        monitor=config.MONITOR,
        num_examples=train_data.survey.num_images,
        unit="images",
    )
    batches, num_batches = iter(train_data.batches(seed=1)), train_data.num_batches
    seconds = []
    for _ in range(EPOCHS):
        begun = time.monotonic()
        for _ in range(num_batches):
            next(batches)
        seconds.append(time.monotonic() - begun)
    if not run.writes:
        return None
    return {
        "step": statistics.median(row["train_seconds"] for row in history[1:])
        / train_data.num_batches,
        "input": statistics.median(seconds[1:]) / num_batches,
        "sums": _count_sums(network),
        "bytes": 4 * sum(int(np.prod(one.shape)) for one in network.trainable_variables),
    }


def _count_sums(network) -> int:
    """How often the workers wait for each other in a step, counted once in TensorFlow's graph."""
    import keras

    # Forwards and backwards the sums, squares and numbers of each; the mean of loss, accuracy and
    # share of the largest answer, and of what each is the mean; the real targets, the gradients,
    # and whether any worker has a batch.
    synchronized = [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    return 6 * len(synchronized) + 2 * 3 + 3


if __name__ == "__main__":
    tyro.cli(main)
