"""Can a recurrent network bridge a long time lag? Trains cells on two classic tasks, and plots.

    python -m benchmarks.long_lag [--lag 1000] [--cells lstm elman] [--seeds 1]

latch: random signs, the first one marked; the marked one is asked for at the end (after Bengio et
al. 1994, https://doi.org/10.1109/72.279181). adding: two of the numbers in [0, 1] are
marked, the first one early, their sum is asked for at the end (Hochreiter & Schmidhuber 1997,
https://doi.org/10.1162/neco.1997.9.8.1735). Every step sees new examples, so there is nothing to
learn by heart. Writes results/long_lag.json and a plot of the gradient over the lag, before
training and after some, with and without clipping.
"""

import datetime
import sys
import time
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands
from common.runs import cli, directory, files

TASKS = ("latch", "adding")


def main(
    *,
    lag: int = 1000,
    cells: tuple[str, ...] = ("lstm", "elman"),
    tasks: tuple[str, ...] = TASKS,
    seeds: tuple[int, ...] = (1, 2, 3),
    steps: int = 1500,
    plot: Path = commands.ROOT / "docs" / "pictures" / "gradient_over_lag.png",
) -> None:
    """Trains, prints and writes.

    Args:
        lag: Steps between what has to be kept and the end.
        cells: Names in common.layers.recurrent.CELLS.
        tasks: latch, adding.
        seeds: One training each.
        steps: Training steps at most; a training ends when the task is solved.
        plot: The picture.
    """
    cli.start_tensorflow_quietly()
    rows = []
    for task in tasks:
        for cell in cells:
            for seed in seeds:
                row = train(task, cell, lag=lag, seed=seed, steps=steps)
                rows.append(row)
                print(
                    f"{task}  {cell}  seed {seed}: {'solved' if row['solved'] else 'not solved'} "
                    f"after {row['steps']} steps, error {row['error']:.4f}, {row['seconds']:.0f} s",
                    flush=True,
                )
    draw_gradients(plot)
    report = {
        "command": " ".join(["python -m benchmarks.long_lag", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "git_commit": directory.environment(seed=seeds[0])["git_commit"],
        "rows": rows,
    }
    files.write_json(commands.RESULTS / "long_lag.json", report)


def make_batch(task: str, random: np.random.Generator, *, lag: int, batch: int):
    """(batch, lag + 1, 2) inputs and (batch, 1) targets."""
    if task == "latch":
        signs = random.integers(0, 2, (batch, lag + 1)) * 2.0 - 1
        inputs = np.stack([signs, np.zeros_like(signs)], axis=-1)
        inputs[:, 0, 1] = 1
        targets = signs[:, 0]
    else:
        inputs = np.stack(
            [random.uniform(0, 1, (batch, lag + 1)), np.zeros((batch, lag + 1))], axis=-1
        )
        marks = np.stack(
            [random.integers(0, 10, batch), random.integers(10, (lag + 1) // 2, batch)], axis=1
        )
        rows = np.arange(batch)[:, None]
        inputs[rows, marks, 1] = 1
        targets = inputs[rows, marks, 0].sum(axis=1)
    return inputs.astype("float32"), targets[:, None].astype("float32")


def train(
    task: str,
    cell: str,
    *,
    lag: int,
    seed: int,
    steps: int,
    batch: int = 32,
    learning_rate: float = 3e-3,
) -> dict:
    """Trains until 1,000 fresh examples are answered: 99 % of signs right, sums within 0.1.

    "errors" of the result are the shares of wrong answers after every 50 steps.
    """
    import keras

    from common.layers import recurrent

    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    layer = recurrent.make_layer(cell, 32)
    model = make_model(layer, clip=True)
    model.optimizer.learning_rate = learning_rate
    if cell == "lstm":
        slow_gates(layer, random, lag=lag)
    start, error, done, errors = time.monotonic(), np.inf, 0, []
    while done < steps:
        for _ in range(50):
            model.train_on_batch(*make_batch(task, random, lag=lag, batch=batch))
        done += 50
        inputs, expected = make_batch(task, np.random.default_rng(0), lag=lag, batch=1000)
        answers = model.predict_on_batch(inputs)
        if task == "latch":
            error = float(np.mean(np.sign(answers) != expected))
        else:
            error = float(np.mean(np.abs(answers - expected) > 0.1))
        errors.append(error)
        if error <= 0.01:
            break
    return {
        "task": task,
        "cell": cell,
        "seed": seed,
        "lag": lag,
        "solved": error <= 0.01,
        "steps": done,
        "error": error,
        "errors": errors,
        "clipped_share": int(model.optimizer.num_clipped) / done,
        "seconds": round(time.monotonic() - start, 1),
        # Of sums of two uniform numbers, 0.9^2 lie further than 0.1 from 1, the best constant.
        "chance": 0.5 if task == "latch" else 0.9**2,
    }


def make_model(layer, *, clip: bool):
    """One recurrent layer, its last output to one number."""
    import keras

    from common.training.optimizers import ClippedAdam

    inputs = keras.Input((None, 2))
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    model.compile(ClippedAdam(3e-3, global_clipnorm=1.0 if clip else None), "mse")
    return model


def slow_gates(layer, random: np.random.Generator, *, lag: int) -> None:
    """Biases for lags up to `lag`: Tallec & Ollivier 2018, https://arxiv.org/abs/1804.11188."""
    forget = np.log(random.uniform(1, lag, layer.units))
    layer.cell.bias.assign(np.concatenate([-forget, forget, 0 * forget, 0 * forget]))


def draw_gradients(path: Path, *, lag: int = 200, steps: int = 200) -> None:
    """How strongly each step affects the last output, by cell, before and after training."""
    import keras
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from common.layers import inspection, recurrent

    figure, (before, after) = plt.subplots(
        1, 2, figsize=(10, 3.8), sharey=True, layout="constrained"
    )
    values, _ = make_batch("latch", np.random.default_rng(1), lag=lag, batch=64)
    for number, label in enumerate(("elman", "gru", "lstm", "lstm, slow gates", "lstm_1997")):
        for clip in (True, False):
            keras.utils.set_random_seed(1)
            random = np.random.default_rng(1)
            layer = recurrent.make_layer(label.split(",")[0], 32)
            model = make_model(layer, clip=clip)
            if "slow" in label:
                slow_gates(layer, random, lag=lag)
            lines = [(before, "-")] if clip else []
            for axes, style in [*lines, (after, "-" if clip else "--")]:
                if axes is after:
                    for _ in range(steps):
                        model.train_on_batch(*make_batch("latch", random, lag=lag, batch=32))
                norms = inspection.gradient_norms(layer, values).numpy()
                axes.semilogy(
                    np.arange(lag + 1)[::-1], norms, style, label=label, color=f"C{number}"
                )
    before.set_title("before training")
    after.set_title(f"after {steps} steps of the latch: clipped, dashed without")
    before.set_ylabel("|d last output / d states|")
    before.legend(frameon=False)
    for axes in (before, after):
        axes.set_xlabel("steps before the end")
        axes.invert_xaxis()
        axes.set_ylim(1e-17, 1e5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    tyro.cli(main)
