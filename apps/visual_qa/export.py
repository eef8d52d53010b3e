"""Writes a run as a SavedModel that takes image bytes and question strings, or for another runtime.

python -m apps.visual_qa.export --run-dir runs/vqa [--output DIR] [--format onnx]
"""

from pathlib import Path

from apps.visual_qa.config import APP, Config
from apps.visual_qa.predict import load_answerer
from common.runs import cli
from common.runs.directory import RunDirectory

LICENCES = {
    "easy_vqa": "easy-VQA, MIT (Victor Zhou 2019)",
    "daquar": "DAQUAR and NYU-Depth v2, research use",
    "clevr": "CLEVR, CC BY 4.0",
    "vqa_v2": "VQA v2 annotations CC BY 4.0; COCO images under their Flickr terms",
    "folder": "the terms of your own data",
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

    from apps.visual_qa import datasets
    from common.export import saved_model

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
        "metrics": saved_model.stored_metrics(run.path),
        "licences": [LICENCES[config.data.name], *([weights] if weights else [])],
    }
    # Mixed sizes and kinds: what a client may send in one batch.
    pixels = tf.cast(tf.random.stateless_uniform((48, 80, 3), [1, 2], maxval=256), tf.uint8)
    probe = {
        "image": [tf.io.encode_png(pixels).numpy(), tf.io.encode_jpeg(pixels[:7, :9]).numpy()],
        "question": ["what is it?", "Is there a RED one, or anything else here?"],
    }
    path = output or run.path / format
    if format == "saved_model":
        saved_model.write_saved_model(
            answerer, path, card=card, probe=probe, examples=datasets.example_arguments
        )
    else:
        _write_runtime(answerer, run.path, path, card, probe, format=format)
    return path


def _write_runtime(answerer, run_path: Path, path: Path, card, probe, *, format: str) -> None:
    """The network for another runtime; images are read and words split in runtime.py."""
    import tensorflow as tf

    from common.export import portable
    from common.export.conversion import Part

    portable.require_portable(answerer.network.func)

    def answer(image, token_ids, token_mask):
        outputs = answerer.network(
            {"image": image, "token_ids": token_ids[:, None], "token_mask": token_mask[:, None]}
        )
        return {name: outputs[name][:, 0] for name in ("logits", "attention")}

    size = answerer.image_size
    inputs = {
        "image": tf.TensorSpec([None, size, size, 3], tf.uint8),
        "token_ids": tf.TensorSpec([None, None], tf.int32),
        "token_mask": tf.TensorSpec([None, None], tf.bool),
    }
    image, question = probe["image"][0], probe["question"][1]
    found = answerer(tf.constant([image]), tf.constant([question]))
    wanted = {name: value[0].numpy() for name, value in found.items()}
    portable.write_runtime(
        path,
        {"model": Part(answer, inputs)},
        format=format,
        sources=[Path(__file__).parent / "runtime.py", "words.py", "pictures.py"],
        settings={"max_question_words": answerer.max_question_words, "image_size": size},
        copies=[run_path / "vocab_words.txt", run_path / "vocab_answers.txt"],
        card=card,
        probes=[({"image": image, "question": question}, wanted)],
    )


def main(
    *, run_dir: Path, output: Path | None = None, format: cli.ExportFormat = "saved_model"
) -> None:
    """Writes a run as a SavedModel: image bytes and question in, answers and attention out.

    Args:
        run_dir: Folder that `train` wrote.
        output: Folder to write; RUN_DIR/FORMAT by default.
        format: For TensorFlow, or for ONNX Runtime or LiteRT, also with matrices in eight bits.
    """
    print(export(run_dir, output, format=format))


if __name__ == "__main__":
    cli.run(main, app=APP)
