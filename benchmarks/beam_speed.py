"""Times beam search from a SavedModel beside the same search in PyTorch.

python -m benchmarks.beam_speed [--torch-python PYTHON]

A decoder with soft attention writes captions of 32 grids of features: additive attention and LSTM
of common/, `beam_search` of width 5, 20 words. PyTorch runs a search of the same steps, eagerly, on
the same weights; both must give the same scores. The weights are random, so no caption ends before
its last word. Both take turns; the figures are medians.
"""

import datetime
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands
from benchmarks.recurrent_speed import TorchWorker, make_torch_environment
from common import cli, files, runs

SIZES = {
    "small": {"region_dim": 256, "word_dim": 128, "units": 256, "asked": 128, "vocab": 2000},
    "large": {"region_dim": 512, "word_dim": 300, "units": 512, "asked": 512, "vocab": 10_000},
}
REGIONS = 49
SEARCH = {"width": 5, "max_steps": 20, "start_id": 2, "end_id": 3, "length_penalty": 0.6}


def main(*, batch: int = 32, rounds: int = 15, torch_python: Path | None = None) -> None:
    """Prints a line for each size and writes results/beam_speed.json.

    Args:
        batch: Images that are captioned together.
        rounds: Timed turns of each; three more come before them.
        torch_python: A Python that has PyTorch; made in runs/torch when not given.
    """
    cli.start_tensorflow_quietly()
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
    machine = runs.environment(seed=1, kernel="")
    report = {
        "command": "python -m benchmarks.beam_speed",
        "date": datetime.date.today().isoformat(),
        "git_commit": machine["git_commit"],
        "machine": f"{machine['cpu_count']} CPU cores",
        "batch": batch,
        "rounds": rounds,
        "search": SEARCH,
        "rows": rows,
    }
    files.write_json(commands.RESULTS / "beam_speed.json", report)


def make_searches(folder: Path, python: Path, batch: int, **sizes: int) -> tuple:
    """Both searches on the same weights, each giving its seconds."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    regions = np.random.default_rng(1).normal(size=(batch, REGIONS, sizes["region_dim"]))
    regions = regions.astype(np.float32)
    captioner, weights = make_captioner(**sizes)
    tf.saved_model.save(captioner, str(folder / "model"))
    model = tf.saved_model.load(str(folder / "model"))  # kept: a signature alone loses its weights
    np.savez(folder / "weights.npz", regions=regions, **weights)
    worker = TorchWorker(python, "torch_beam.py")
    worker.ask({"weights": str(folder / "weights.npz"), **SEARCH})
    given = tf.constant(regions)
    found, expected = model(given)["scores"], json.loads(worker.ask({"do": "scores"}))
    np.testing.assert_allclose(found, expected, rtol=1e-4)

    def ours():
        begun = time.perf_counter()
        model(given)["token_ids"].numpy()
        return time.perf_counter() - begun

    return ours, lambda: float(worker.ask({"do": "beam"}))


def make_captioner(*, region_dim: int, word_dim: int, units: int, asked: int, vocab: int) -> tuple:
    """A module of which the SavedModel decodes regions, and its weights by PyTorch's names."""
    import keras
    import tensorflow as tf

    from common.attention import AdditiveAttention
    from common.beam_search import beam_search
    from common.recurrent import make_decoder, zero_states

    class Captioner(tf.Module):
        def __init__(self):
            super().__init__()
            self.embed = keras.layers.Embedding(vocab, word_dim, embeddings_initializer="normal")
            self.attend = AdditiveAttention(asked)
            self.decode = make_decoder(word_dim + region_dim, units)
            self.tell = keras.layers.Dense(vocab)

        @tf.function(input_signature=[tf.TensorSpec([None, REGIONS, region_dim])], autograph=False)
        def __call__(self, regions):
            batch = tf.shape(regions)[0]
            self.attend(tf.zeros([1, 1, units]), regions[:1])  # makes its weights
            projected = self.attend.project(regions)

            def step(token_ids, states):
                rows = tf.shape(token_ids)[0]
                query = tf.reshape(states[0], [batch, -1, units])
                context, attention = self.attend(query, regions, projected=projected)
                context = tf.reshape(context, [rows, region_dim])
                embedded = tf.concat([self.embed(token_ids), context], axis=1)[:, None]
                decoded, *states = self.decode([embedded, tf.ones([rows, 1], tf.bool), *states])
                log_probs = tf.nn.log_softmax(self.tell(decoded[:, 0]))
                return log_probs, states, tf.reshape(attention, [rows, REGIONS])

            return beam_search(step, zero_states(self.decode, batch), **SEARCH)._asdict()

    captioner = Captioner()
    captioner(tf.zeros([1, REGIONS, region_dim]))
    kernel, recurrent, bias = (weight.numpy() for weight in captioner.decode.weights)
    names = {
        "embed": captioner.embed.embeddings,
        "query": captioner.attend.query_projection.kernel,
        "keys": captioner.attend.key_projection.kernel,
        "keys_bias": captioner.attend.key_projection.bias,
        "score": captioner.attend.score.kernel,
        "tell": captioner.tell.kernel,
        "tell_bias": captioner.tell.bias,
    }
    weights = {name: value.numpy() for name, value in names.items()}
    return captioner, {**weights, "kernel": kernel, "recurrent": recurrent, "bias": bias}


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
