"""Writes a run as a SavedModel that takes and gives text, or for another runtime.

python -m apps.translation.export --run-dir runs/translation [--output DIR] [--format onnx]
"""

from pathlib import Path
from typing import TYPE_CHECKING

from apps.translation.config import APP, Config
from common.runs import cli, directory

if TYPE_CHECKING:
    from apps.translation.model import Translator
    from common.export.conversion import Part

LICENCES = {
    "emoji_names": "names of emoji of Unicode CLDR, Unicode licence",
    "home_assistant": "interface texts of Home Assistant, Apache-2.0",
    "multi30k": "Multi30k, research use; captions of Flickr30k",
    "tatoeba": "Tatoeba, CC BY 2.0 FR",
    "folder": "the terms of your own data",
}
# Mixed lengths and scripts: what a client may send in one batch.
TEXTS = ["flag", "woman firefighter, dark skin tone", "Größe 12 ☃"]


def export(
    run_dir: Path, output: Path | None = None, *, format: cli.ExportFormat = "saved_model"
) -> Path:
    """Writes a run and checks what was written in a fresh process.

    Args:
        run_dir: written by `train`.
        output: a folder; `run_dir/FORMAT` by default. An older export there is replaced.
        format: the SavedModel needs TensorFlow alone; the others NumPy and their runtime.

    Raises:
        UserError: no run of this app; a package is missing, or the run cannot be converted.
    """
    from apps.translation import datasets
    from apps.translation.model import load_inference
    from common.export import card, saved_model

    run, config = directory.open_run(run_dir, app=APP, config_type=Config)
    translator = load_inference(run_dir)
    languages = config.data.target_languages
    tags = f"; >>{languages[-1]}<< before it asks for a language, of {', '.join(languages)}"
    description = card.make_card(
        run,
        task="translation",
        data=config.data.name,
        inputs={
            "text": card.text(
                "batch",
                description=f"in {config.data.source_language}{tags if languages[1:] else ''}",
            )
        },
        outputs={
            "translation": card.text("batch", translator.beam, description="best first"),
            "score": card.numbers(
                "float32",
                *("batch", translator.beam),
                description="log-probability after the length penalty",
            ),
            "source_pieces": card.text("batch", "source", description="language, pieces, end"),
            "target_pieces": card.text("batch", "target", description="of the best, then empty"),
            "attention": card.numbers(
                "float32",
                *("batch", "target", "source"),
                description="of each written piece, sums to 1",
            ),
        },
        licences=[LICENCES[config.data.name]],
    )
    path = output or run.path / format
    if format == "saved_model":
        saved_model.write_saved_model(
            translator,
            path,
            card=description,
            probe={"text": TEXTS},
            examples=datasets.example_arguments,
        )
    else:
        _write_runtime(translator, config, run.path, path, description, format=format)
    return path


def _write_runtime(
    translator: "Translator",
    config: Config,
    run_path: Path,
    path: Path,
    description,
    *,
    format: str,
) -> None:
    """Encoder and step for another runtime; pieces and the beam search are in runtime.py."""
    import tensorflow as tf

    from common.export import portable

    outputs = translator(tf.constant(TEXTS[1:2]))
    portable.write_runtime(
        path,
        make_parts(translator),
        format=format,
        sources=[Path(__file__).parent / "runtime.py", "beam.py", "pieces.py"],
        settings={
            **translator.rules,
            "beam": translator.beam,
            "length_penalty": translator.length_penalty,
            "max_pieces": translator.max_pieces,
            "languages": config.data.target_languages,
            "first_language": translator.first_language,
        },
        copies=[run_path / "vocab_pieces.txt"],
        card=description,
        probes=[({"text": TEXTS[1]}, {name: value[0].numpy() for name, value in outputs.items()})],
    )


def make_parts(translator: "Translator") -> "dict[str, Part]":
    """The network in two parts: what is computed once for a text, and what for each piece.

    "encoder": source_ids int32 (batch, source_time) -> the first states, state_0 and so on,
    (batch, units), and what the decoder remembers, by its own names.
    "step": token_ids int32 (beam,), the pieces before, states (beam, units) and the memory of one
    text -> log_probs (beam, pieces), attention (beam, source_time), and next_state_0 and so on.
    """
    import tensorflow as tf

    from common.export.conversion import Part

    network, beam = translator.network, translator.beam

    def encode(source_ids):
        remembered, states = network.start(source_ids)
        return {**remembered, **{f"state_{n}": state for n, state in enumerate(states)}}

    def step(token_ids, **inputs):
        states = [inputs.pop(name) for name in sorted(inputs) if name.startswith("state_")]
        log_probs, states, attention = network.step(token_ids, states, inputs)
        after = {f"next_state_{n}": state for n, state in enumerate(states)}
        return {"log_probs": log_probs, "attention": attention, **after}

    source_ids = tf.TensorSpec([None, None], tf.int32)
    graph = tf.function(encode, autograph=False).get_concrete_function(source_ids)
    inputs = {"token_ids": tf.TensorSpec([beam], tf.int32)}
    for name, spec in graph.structured_outputs.items():
        rows = beam if name.startswith("state_") else 1
        inputs[name] = tf.TensorSpec([rows, *spec.shape[1:]], spec.dtype)
    return {"encoder": Part(encode, {"source_ids": source_ids}), "step": Part(step, inputs)}


main = cli.export_command(export)


if __name__ == "__main__":
    cli.run(main, app=APP)
