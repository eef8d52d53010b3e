"""Writes a run as a SavedModel that takes raw image bytes and question strings.

python -m apps.visual_qa.export --run-dir runs/vqa [--output DIR]
"""

from pathlib import Path
from typing import Literal

from apps.visual_qa.config import APP, Config
from apps.visual_qa.predict import load_answerer
from common import cli
from common.runs import RunDirectory

LICENCES = {
    "easy_vqa": "easy-VQA, MIT (Victor Zhou 2019)",
    "daquar": "DAQUAR and NYU-Depth v2, research use",
    "clevr": "CLEVR, CC BY 4.0",
    "vqa_v2": "VQA v2 annotations CC BY 4.0; COCO images under their Flickr terms",
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

    from apps.visual_qa import datasets
    from common import exporting

    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    answerer = load_answerer(run_dir)
    weights = {
        "efficientnet_lite0": "EfficientNet-Lite0 weights, Apache-2.0, trained on ImageNet-1k"
    }.get(config.model.image_encoder)
    card = {
        "task": "visual question answering",
        "inputs": {
            "image": "string (batch,): JPEG, PNG or BMP bytes, any size",
            "question": "string (batch,): UTF-8",
        },
        "outputs": {
            "answer": "string (batch,)",
            "probability": "float32 (batch,)",
            "top_answers": "string (batch, 5), best first",
            "top_probabilities": "float32 (batch, 5)",
            "attention": "float32 (batch, hops, rows, columns), each hop sums to 1",
        },
        "training_data": config.data.name,
        "metrics": exporting.stored_metrics(run.path),
        "licences": [LICENCES[config.data.name], *([weights] if weights else [])],
    }
    # Mixed sizes and kinds: what a client may send in one batch.
    pixels = tf.cast(tf.random.stateless_uniform((48, 80, 3), [1, 2], maxval=256), tf.uint8)
    probe = {
        "image": [tf.io.encode_png(pixels).numpy(), tf.io.encode_jpeg(pixels[:7, :9]).numpy()],
        "question": ["what is it?", "Is there a RED one, or anything else here?"],
    }
    path = output or run.path / "saved_model"
    exporting.write_saved_model(
        answerer, path, card=card, probe=probe, examples=datasets.example_arguments
    )
    return path


def main(
    *, run_dir: Path, output: Path | None = None, format: Literal["saved_model"] = "saved_model"
) -> None:
    """Writes a run as a SavedModel: image bytes and question in, answers and attention out.

    Args:
        run_dir: Folder that `train` wrote.
        output: Folder to write; RUN_DIR/saved_model by default.
        format: What to write.
    """
    print(export(run_dir, output))


if __name__ == "__main__":
    cli.run(main, app=APP)
