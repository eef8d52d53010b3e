"""Writes a run as a SavedModel that takes image bytes and question strings, or for another runtime.

python -m apps.visual_qa.export --run-dir runs/vqa [--output DIR] [--format onnx]
"""

from pathlib import Path

from apps.visual_qa.config import APP, Config
from common.runs import cli, directory


def export(
    run_dir: Path, output: Path | None = None, *, format: cli.ExportFormat = "saved_model"
) -> Path:
    """Writes a run to `output` or `run_dir`/FORMAT, and checks it in a fresh process.

    The SavedModel needs TensorFlow alone; the others NumPy, Pillow and their runtime.

    Raises:
        UserError: no run of this app; a package is missing, or the run cannot be converted.
    """
    from apps.visual_qa import datasets
    from apps.visual_qa.model import load_inference
    from common.export import saved_model

    run, config = directory.open_run(run_dir, app=APP, config_type=Config)
    answerer, card = load_inference(run_dir), make_card(run, config)
    probe = {
        "image": saved_model.probe_images(),
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


def make_card(run: directory.RunDirectory, config: Config) -> dict[str, object]:
    """What card.json of the export says."""
    from apps.visual_qa.datasets import DATA_SETS
    from apps.visual_qa.model import NUM_TOP
    from common.export import card
    from common.inputs import images

    per_hop = ("hops", "rows", "columns")
    return card.make_card(
        run,
        task="visual question answering",
        data=config.data.name,
        inputs={
            "image": card.image("batch", max_pixels=images.MAX_PIXELS),
            "question": card.text("batch"),
        },
        outputs={
            "answer": card.text("batch"),
            "probability": card.numbers("float32", "batch"),
            "top_answers": card.text("batch", NUM_TOP, description="best first"),
            "top_probabilities": card.numbers("float32", "batch", NUM_TOP),
            "attention": card.numbers(
                "float32", "batch", *per_hop, description="each hop sums to 1"
            ),
        },
        licences=[
            DATA_SETS[config.data.name].licence,
            *card.encoder_licence(config.model.image_encoder),
        ],
    )


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
    outputs = answerer(tf.constant([image]), tf.constant([question]))
    expected = {name: value[0].numpy() for name, value in outputs.items()}
    portable.write_runtime(
        path,
        {"model": Part(answer, inputs)},
        format=format,
        sources=[Path(__file__).parent / "runtime.py", "words.py", "pictures.py"],
        settings={"max_question_words": answerer.max_question_words, "image_size": size},
        copies=[run_path / "vocab_words.txt", run_path / "vocab_answers.txt"],
        card=card,
        probes=[({"image": image, "question": question}, expected)],
    )


main = cli.export_command(export)


if __name__ == "__main__":
    cli.run(main, app=APP)
