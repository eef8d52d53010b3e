"""Times image captioning: the CNN, one photo through the SavedModel, training beside PyTorch.

python -m benchmarks.captioning_speed --run-dir RUN [--torch-python PYTHON]

RUN is an exported run of image captioning. The CNN is EfficientNet-Lite0 with colours at 224
pixels. The decoder that is trained has soft attention at the sizes of SMALL, over 49 regions of
random features, five captions an image; both give the same loss before they take turns.
"""

import datetime
import io
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import commands
from benchmarks.recurrent_speed import TorchWorker, make_torch_environment
from common.runs import cli, directory, files

BATCH, CAPTIONS, WORDS, VOCAB, CHANNELS, SIDE = 32, 5, 12, 2000, 1405, 7


def main(
    *, run_dir: Path, rounds: int = 15, threads: int = 2, torch_python: Path | None = None
) -> None:
    """Prints four lines and writes results/captioning_speed.json.

    Args:
        run_dir: Run with an exported SavedModel.
        rounds: Timed turns of each; three more come before them.
        threads: Of each.
        torch_python: A Python that has PyTorch; made in runs/torch when not given.
    """
    cli.start_tensorflow_quietly()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the other process inherits it
    tell_one = make_latency(run_dir)
    see = make_encoder()
    rows = {
        "features_images_per_second": round(BATCH / median(see, rounds), 1),
        "saved_model_ms_per_jpeg": round(1e3 * median(tell_one, rounds), 1),
    }
    python = torch_python or make_torch_environment()
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, num_tokens = make_trainings(Path(folder), python)
        taken = {"ours": [], "torch": []}
        for _ in range(rounds + 3):
            for name, run in (("ours", ours), ("torch", theirs)):
                if run is not None:
                    time.sleep(0.05)  # the threads of the other still wait actively for a while
                    taken[name].append(run())
    for name, seconds in taken.items():
        if seconds:
            rate = num_tokens / statistics.median(seconds[3:])
            rows[f"training_tokens_per_second_{name}"] = round(rate)
    for name, value in rows.items():
        print(f"{name.replace('_', ' ')}: {value}", flush=True)
    machine = directory.environment(seed=1)
    report = {
        "command": "python -m benchmarks.captioning_speed",
        "date": datetime.date.today().isoformat(),
        "git_commit": machine["git_commit"],
        "machine": f"{machine['cpu_count']} CPU cores",
        "rounds": rounds,
        "threads": threads,
        "rows": rows,
    }
    files.write_json(commands.RESULTS / "captioning_speed.json", report)


def photo(seed: int) -> bytes:
    """A JPEG of 320 x 240."""
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((320, 240)).save(file, "JPEG", quality=85)
    return file.getvalue()


def make_latency(run_dir: Path):
    """One JPEG through the SavedModel, from bytes to captions."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(run_dir / "saved_model"))
    image = tf.constant([photo(1)])

    def run():
        begun = time.perf_counter()
        # The loaded object, not its signature alone: that would lose its weights.
        loaded.signatures["serving_default"](image=image)["caption"].numpy()
        return time.perf_counter() - begun

    return run


def make_encoder():
    """JPEG bytes to features, a batch, as they are computed once."""
    import tensorflow as tf

    from apps.image_captioning.captioning.encoder import make_image_encoder
    from apps.image_captioning.config import ModelConfig
    from common.inputs import images

    encoder = make_image_encoder(ModelConfig(image_size=224))
    encoded = tf.constant([photo(seed) for seed in range(BATCH)])
    see = tf.function(
        lambda image: tf.cast(encoder(images.decode_batch(image, 224), training=False), tf.float16)
    )

    def run():
        begun = time.perf_counter()
        see(encoded).numpy()
        return time.perf_counter() - begun

    return run


def make_trainings(folder: Path, python: Path | None) -> tuple:
    """A training step of ours and of PyTorch, each giving its seconds; words in a step."""
    import tensorflow as tf

    from apps.image_captioning.data import as_training
    from common.training import losses
    from common.training.optimizers import ClippedAdam

    model = make_model(VOCAB, coverage=0.01)
    decoder = model.get_layer("decoder")
    random = np.random.default_rng(1)
    lengths = random.integers(WORDS // 2, WORDS + 1, (BATCH, CAPTIONS, 1))
    batch = {
        "grid": random.random((BATCH, SIDE, SIDE, CHANNELS)).astype("float16"),
        "token_ids": random.integers(4, VOCAB, (BATCH, CAPTIONS, WORDS + 1)).astype("int32"),
        "token_mask": np.arange(WORDS + 1) <= lengths,
    }
    inputs, target = as_training(batch, inputs=model.input)
    inputs = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
    loss, num_words = losses.StepsCrossEntropy(), int(tf.math.count_nonzero(target >= 0))
    model.compile(ClippedAdam(1e-3, global_clipnorm=5.0), loss, metrics=[])
    train = tf.function(model.train_step)

    def ours():
        begun = time.perf_counter()
        train((inputs, target))["loss"].numpy()
        return time.perf_counter() - begun

    if python is None:
        return ours, None, num_words
    weights = decoder_weights(decoder)
    arrays: dict[str, Any] = {name: value.numpy() for name, value in inputs.items()}
    np.savez(folder / "weights.npz", target=target.numpy()[target >= 0], **arrays, **weights)
    worker = TorchWorker(python, "torch_captions.py")
    theirs = worker.ask({"weights": str(folder / "weights.npz"), "dropout": 0.3})
    for layer in decoder.drop.values():
        layer.rate = 0.0
    here = loss(target, model(inputs, training=True)) + tf.add_n(decoder.losses)
    for layer in decoder.drop.values():
        layer.rate = 0.3
    np.testing.assert_allclose(float(here), float(theirs), rtol=1e-4)
    return ours, lambda: float(worker.ask({"do": "train"})), num_words


def make_model(vocab: int, *, coverage: float = 0.0, **sizes: Any):
    """The model of image captioning with soft attention, for grids of an encoder of this shape."""
    import keras

    from apps.image_captioning.config import ModelConfig
    from apps.image_captioning.model import build_model

    keras.utils.set_random_seed(1)
    pixels = keras.Input((SIDE, SIDE, 3))
    encoder = keras.Model(pixels, keras.layers.Conv2D(CHANNELS, 1)(pixels))
    return build_model(ModelConfig(**sizes), vocab, encoder, coverage=coverage)


def decoder_weights(decoder) -> dict[str, Any]:
    """By the names that `torch_decoder` knows."""
    return {w.path.split("/", 1)[1]: w.numpy() for w in decoder.trainable_weights}


def median(run, rounds: int) -> float:
    """Seconds."""
    return statistics.median([run() for _ in range(rounds + 3)][3:])


if __name__ == "__main__":
    tyro.cli(main)
