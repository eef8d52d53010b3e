"""Times the beam search of image captioning from a SavedModel beside the same search in PyTorch.

python -m benchmarks.beam_speed [--torch-python PYTHON]

The decoder with soft attention writes captions of 32 grids of features: five hypotheses, at most 20
words. PyTorch runs the same decoder and search, eagerly, on the same weights; both must give the
same scores, but for ties. The weights are random, so no caption ends before its last word. Both
take turns; the figures are medians.
"""

import datetime
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands
from benchmarks.captioning_speed import CHANNELS, SIDE, decoder_weights, make_model
from benchmarks.recurrent_speed import TorchWorker, make_torch_environment
from common.runs import cli, directory, files

SIZES = {
    "small": {
        "region_dim": 256,
        "word_dim": 128,
        "units": 256,
        "attention_units": 128,
        "vocab": 2000,
    },
    "large": {
        "region_dim": 512,
        "word_dim": 300,
        "units": 512,
        "attention_units": 512,
        "vocab": 10_000,
    },
}
SEARCH = {"width": 5, "max_steps": 20, "length_penalty": 0.6}


def main(
    *, batch: int = 32, rounds: int = 15, threads: int = 1, torch_python: Path | None = None
) -> None:
    """Prints a line for each size and writes its part of results/beam_speed.json.

    Args:
        batch: Images that are captioned together.
        rounds: Timed turns of each; three more come before them.
        threads: Of each; where other work runs, PyTorch's wait long for each other.
        torch_python: A Python that has PyTorch; made in runs/torch when not given.
    """
    cli.start_tensorflow_quietly()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the other process inherits it
    python = torch_python or make_torch_environment()
    if python is None:
        return
    rows = []
    for name, sizes in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = make_searches(Path(folder), python, batch, **sizes)
            rows.append({"sizes": {"name": name, **sizes}, **take_turns(ours, theirs, rounds)})
        print(
            f"{name}: ours {1e3 * rows[-1]['ours']:.0f} ms, PyTorch {1e3 * rows[-1]['torch']:.0f} "
            f"ms, {rows[-1]['ours'] / rows[-1]['torch']:.2f} of its time",
            flush=True,
        )
    machine = directory.environment(seed=1)
    path = commands.RESULTS / "beam_speed.json"
    report = files.read_json(path) if path.exists() else {}
    report[f"threads_{threads}"] = {
        "command": f"python -m benchmarks.beam_speed --threads {threads}",
        "date": datetime.date.today().isoformat(),
        "git_commit": machine["git_commit"],
        "machine": f"{machine['cpu_count']} CPU cores",
        "batch": batch,
        "rounds": rounds,
        "search": SEARCH,
        "rows": rows,
    }
    files.write_json(path, report)


def make_searches(folder: Path, python: Path, batch: int, *, vocab: int, **sizes: int) -> tuple:
    """Both searches on the same weights, each giving its seconds."""
    import tensorflow as tf

    from common.inputs import text

    decoder = make_model(vocab, **sizes).get_layer("decoder")
    grid = np.random.default_rng(1).random((batch, SIDE, SIDE, CHANNELS)).astype(np.float16)
    captioner = make_captioner(decoder, vocab)
    tf.saved_model.save(captioner, str(folder / "model"))
    model = tf.saved_model.load(str(folder / "model"))  # kept: a signature alone loses its weights
    np.savez(folder / "weights.npz", grid=grid, **decoder_weights(decoder))
    worker = TorchWorker(python, "torch_beam.py")
    never = [text.PAD, text.UNK, text.START]
    search = {"start_id": text.START, "end_id": text.END, "never": never, **SEARCH}
    worker.ask({"weights": str(folder / "weights.npz"), **search})
    grids = tf.constant(grid)
    scores, expected = model(grids)["scores"], json.loads(worker.ask({"do": "scores"}))
    # Of hypotheses that are as good but for rounding, each may keep another one.
    assert np.mean(np.isclose(scores, expected, rtol=1e-4)) >= 0.95

    def ours():
        begun = time.perf_counter()
        model(grids)["token_ids"].numpy()
        return time.perf_counter() - begun

    return ours, lambda: float(worker.ask({"do": "beam"}))


def make_captioner(decoder, vocab: int):
    """A module of which the SavedModel captions grids."""
    import tensorflow as tf

    from apps.image_captioning.captioning.writer import Writer
    from common.inputs import text

    words = text.Vocabulary((*text.SPECIALS, *map(str, range(len(text.SPECIALS), vocab))))

    class Captioner(tf.Module):
        def __init__(self):
            super().__init__()
            self.decoder = decoder
            self.writer = Writer(
                decoder,
                words,
                max_words=SEARCH["max_steps"] - 1,
                length_penalty=SEARCH["length_penalty"],
            )

        @tf.function(
            input_signature=[tf.TensorSpec([None, SIDE, SIDE, CHANNELS], tf.float16)],
            autograph=False,
        )
        def __call__(self, grid):
            return self.writer.write(grid, beam=SEARCH["width"])._asdict()

    return Captioner()


def take_turns(ours, theirs, rounds: int) -> dict[str, float]:
    """Median seconds of each."""
    taken = {"ours": [], "torch": []}
    for _ in range(rounds + 3):
        for name, run in (("ours", ours), ("torch", theirs)):
            time.sleep(0.05)  # the threads of the one before still wait actively for a while
            taken[name].append(run())
    return {name: round(statistics.median(seconds[3:]), 4) for name, seconds in taken.items()}


if __name__ == "__main__":
    tyro.cli(main)
