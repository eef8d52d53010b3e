"""Writes a run as a SavedModel that takes image bytes and gives captions, or for another runtime.

python -m apps.image_captioning.export --run-dir runs/captions [--output DIR] [--format onnx]
"""

from pathlib import Path

from apps.image_captioning.config import APP, Config
from common.runs import cli
from common.runs.directory import RunDirectory

LICENCES = {
    "emoji": "Twemoji, CC BY 4.0; OpenMoji, CC BY-SA 4.0; Unicode names, BSD",
    "karpathy": "those of the data set whose dataset.json was read",
    "flickr8k": "Flickr8k, research and education only; photos belong to their Flickr authors",
    "coco_captions": "COCO captions CC BY 4.0; images under their Flickr terms",
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
    import tensorflow as tf

    from apps.image_captioning import datasets
    from apps.image_captioning.model import load_captioner
    from common.export import saved_model

    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    captioner = load_captioner(run_dir)
    weights = {
        "efficientnet_lite0": "EfficientNet-Lite0 weights, Apache-2.0, trained on ImageNet-1k"
    }.get(config.model.image_encoder)
    card = {
        "task": "image captioning",
        "inputs": {"image": "string (batch,): JPEG, PNG or BMP bytes, any size"},
        "outputs": {
            "caption": "string (batch, beam), best first",
            "score": "float32 (batch, beam), log-probability after the length penalty",
            "tokens": "string (batch, time), words of the best caption, then empty",
            "attention": "float32 (batch, time, rows, columns), each word and the end sum to 1",
        },
        "training_data": config.data.name,
        "metrics": saved_model.stored_metrics(run.path),
        "licences": [LICENCES[config.data.name], *([weights] if weights else [])],
    }
    # Mixed sizes and kinds: what a client may send in one batch.
    pixels = tf.cast(tf.random.stateless_uniform((48, 80, 3), [1, 2], maxval=256), tf.uint8)
    probe = {"image": [tf.io.encode_png(pixels).numpy(), tf.io.encode_jpeg(pixels[:7, :9]).numpy()]}
    path = output or run.path / format
    if format == "saved_model":
        saved_model.write_saved_model(
            captioner, path, card=card, probe=probe, examples=datasets.example_arguments
        )
    else:
        _write_runtime(captioner, run.path, path, card, probe["image"][0], format=format)
    return path


def _write_runtime(captioner, run_path: Path, path: Path, card, image: bytes, *, format: str):
    """Encoder and step for another runtime; images and the beam search are in runtime.py."""
    import tensorflow as tf

    from apps.image_captioning.parts import make_parts
    from common.export import portable

    portable.require_portable(captioner.encoder)
    writer = captioner.writer
    found = captioner(tf.constant([image]))
    portable.write_runtime(
        path,
        make_parts(captioner.encoder, captioner.decoder, beam=captioner.beam),
        format=format,
        sources=[Path(__file__).parent / "runtime.py", "pictures.py"],
        settings={
            **writer.rules,
            "beam": captioner.beam,
            "length_penalty": writer.length_penalty,
            "image_size": captioner.image_size,
            "grid": captioner.encoder.output.shape[1:3],
        },
        copies=[run_path / "vocab_words.txt"],
        card=card,
        probes=[({"image": image}, {name: value[0].numpy() for name, value in found.items()})],
        close=1e-3,  # features are rounded to half precision: some fall to the other side
    )


def main(
    *, run_dir: Path, output: Path | None = None, format: cli.ExportFormat = "saved_model"
) -> None:
    """Writes a run as a SavedModel: image bytes in, captions and attention out.

    Args:
        run_dir: Folder that `train` wrote.
        output: Folder to write; RUN_DIR/FORMAT by default.
        format: For TensorFlow, or for ONNX Runtime or LiteRT, also with matrices in eight bits.
    """
    print(export(run_dir, output, format=format))


if __name__ == "__main__":
    cli.run(main, app=APP)
