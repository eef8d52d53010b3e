"""Writes a run as a SavedModel that takes image bytes and gives captions, or for another runtime.

python -m apps.image_captioning.export --run-dir runs/captions [--output DIR] [--format onnx]
"""

from pathlib import Path
from typing import TYPE_CHECKING

from apps.image_captioning.config import APP, Config
from common.runs import cli
from common.runs.directory import RunDirectory

if TYPE_CHECKING:
    from apps.image_captioning.model import Captioner
    from common.export.conversion import Part

LICENCES = {
    "emoji": "Twemoji, CC BY 4.0; OpenMoji, CC BY-SA 4.0; Unicode names, BSD",
    "karpathy": "those of the data set whose dataset.json was read",
    "folder": "your own",
}


def export(
    run_dir: Path, output: Path | None = None, *, format: cli.ExportFormat = "saved_model"
) -> Path:
    """Writes a run and checks what was written in a fresh process.

    Args:
        run_dir: written by `train`.
        output: a folder; `run_dir/FORMAT` by default. An older export there is replaced.
        format: the SavedModel needs TensorFlow alone; the others NumPy, Pillow and their runtime.

    Raises:
        UserError: no run of this app; a package is missing, or the run cannot be converted.
    """
    from apps.image_captioning import datasets
    from apps.image_captioning.model import load_inference
    from common.export import card, saved_model
    from common.inputs.images import MAX_PIXELS

    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    captioner = load_inference(run_dir)
    _, rows, columns, _ = captioner.encoder.output.shape
    description = card.make_card(
        run,
        task="image captioning",
        data=config.data.name,
        inputs={"image": card.image("batch", max_pixels=MAX_PIXELS)},
        outputs={
            "caption": card.text("batch", captioner.beam, description="best first"),
            "score": card.numbers(
                "float32",
                *("batch", captioner.beam),
                description="log-probability after the length penalty",
            ),
            "tokens": card.text("batch", "time", description="words of the best, then empty"),
            "attention": card.numbers(
                "float32",
                *("batch", "time", rows, columns),
                description="of each word and the end, sums to 1",
            ),
        },
        licences=[
            LICENCES[config.data.name],
            *card.encoder_licence(config.model.image_encoder),
        ],
    )
    probe = saved_model.probe_images()
    path = output or run.path / format
    if format == "saved_model":
        saved_model.write_saved_model(
            captioner,
            path,
            card=description,
            probe={"image": probe},
            examples=datasets.example_arguments,
        )
    else:
        _write_runtime(captioner, run.path, path, description, probe[0], format=format)
    return path


def _write_runtime(
    captioner: "Captioner", run_path: Path, path: Path, description, image: bytes, *, format: str
) -> None:
    """Encoder and step for another runtime; images and the beam search are in runtime.py."""
    import tensorflow as tf

    from common.export import portable

    portable.require_portable(captioner.encoder)
    writer = captioner.writer
    outputs = captioner(tf.constant([image]))
    portable.write_runtime(
        path,
        make_parts(captioner),
        format=format,
        sources=[Path(__file__).parent / "runtime.py", "beam.py", "pictures.py"],
        settings={
            **writer.rules,
            "beam": captioner.beam,
            "length_penalty": writer.length_penalty,
            "image_size": captioner.image_size,
            "grid": captioner.encoder.output.shape[1:3],
        },
        copies=[run_path / "vocab_words.txt"],
        card=description,
        probes=[({"image": image}, {name: value[0].numpy() for name, value in outputs.items()})],
        close=1e-3,  # features are rounded to half precision: some fall to the other side
    )


def make_parts(captioner: "Captioner") -> "dict[str, Part]":
    """The network in two parts: what is computed once for an image, and what for each word.

    "encoder": image uint8 (batch, size, size, 3) -> the states before the first word, state_0 and
    so on, (batch, units), and the memory of the decoder, by its own names.
    "step": token_ids int32 (beam,), the words before, states (beam, units) and the memory of one
    image -> log_probs (beam, vocab), attention (beam, regions), and next_state_0 and so on.
    """
    import tensorflow as tf

    from common.export.conversion import Part

    encoder, decoder, beam = captioner.encoder, captioner.decoder, captioner.beam

    def encode(image):
        # Rounded as the features were that the decoder was trained on.
        grid = tf.cast(encoder(image, training=False), tf.float16)
        memory, states = decoder.start(grid)
        return {**memory, **{f"state_{n}": state for n, state in enumerate(states)}}

    def step(token_ids, **inputs):
        states = [inputs.pop(name) for name in sorted(inputs) if name.startswith("state_")]
        log_probs, states, attention = decoder.step(token_ids, states, inputs)
        after = {f"next_state_{n}": state for n, state in enumerate(states)}
        return {"log_probs": log_probs, "attention": attention, **after}

    image = tf.TensorSpec([None, *encoder.input.shape[1:]], tf.uint8)
    outputs = tf.function(encode, autograph=False).get_concrete_function(image).structured_outputs
    inputs = {"token_ids": tf.TensorSpec([beam], tf.int32)}
    for name, spec in outputs.items():
        rows = beam if name.startswith("state_") else 1
        inputs[name] = tf.TensorSpec([rows, *spec.shape[1:]], tf.float32)
    return {"encoder": Part(encode, {"image": image}), "step": Part(step, inputs)}


main = cli.export_command(export)


if __name__ == "__main__":
    cli.run(main, app=APP)
