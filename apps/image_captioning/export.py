"""Writes a run as a SavedModel that takes raw image bytes and gives captions.

python -m apps.image_captioning.export --run-dir runs/captions [--output DIR]
"""

from pathlib import Path
from typing import Literal

from apps.image_captioning.config import APP, Config
from common import cli
from common.runs import RunDirectory

_EMOJI = "Twemoji, CC BY 4.0; OpenMoji, CC BY-SA 4.0; Unicode names, BSD"
LICENCES = {
    "emoji": _EMOJI,
    "emoji_vendor": _EMOJI,
    "karpathy": "those of the data set whose dataset.json was read",
    "flickr8k": "Flickr8k, research and education only; photos belong to their Flickr authors",
    "coco_captions": "COCO captions CC BY 4.0; images under their Flickr terms",
    "folder": "your own",
}


def export(run_dir: Path, output: Path | None = None) -> Path:
    """Writes the SavedModel and checks it in a fresh process that has TensorFlow alone.

    Args:
        run_dir: written by `train`.
        output: a folder; `run_dir/saved_model` by default. An older export there is replaced.

    Raises:
        UserError: no run of this app.
    """
    import tensorflow as tf

    from apps.image_captioning import datasets
    from apps.image_captioning.model import load_captioner
    from common import exporting

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
        "metrics": exporting.stored_metrics(run.path),
        "licences": [LICENCES[config.data.name], *([weights] if weights else [])],
    }
    # Mixed sizes and kinds: what a client may send in one batch.
    pixels = tf.cast(tf.random.stateless_uniform((48, 80, 3), [1, 2], maxval=256), tf.uint8)
    probe = {"image": [tf.io.encode_png(pixels).numpy(), tf.io.encode_jpeg(pixels[:7, :9]).numpy()]}
    path = output or run.path / "saved_model"
    exporting.write_saved_model(
        captioner, path, card=card, probe=probe, examples=datasets.example_arguments
    )
    return path


def main(
    *,
    run_dir: Path,
    output: Path | None = None,
    format: Literal["saved_model"] = "saved_model",
) -> None:
    """Exports a run.

    Args:
        run_dir: Folder that `train` wrote.
        output: Folder for the export; run-dir/saved_model by default.
        format: What to write.
    """
    print(export(run_dir, output))


if __name__ == "__main__":
    cli.run(main, app=APP)
