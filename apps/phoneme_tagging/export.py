"""Writes a run as a SavedModel that takes waveforms or WAV bytes, or for another runtime.

python -m apps.phoneme_tagging.export --run-dir runs/phones [--output DIR] [--format onnx]
"""

from pathlib import Path

import numpy as np

from apps.phoneme_tagging.config import APP, Config
from apps.phoneme_tagging.predict import load_tagger
from common.runs import cli
from common.runs.directory import RunDirectory

LICENCES = {
    "espeak": "speech synthesised by espeak-ng 1.52 (the program is GPL-3.0-or-later, its sound is "
    "not covered); sentences from the documentation of numpy, scikit-learn and keras",
    "flite": "speech synthesised by CMU Flite, whose terms are like BSD's (see its COPYING); "
    "sentences from the documentation of numpy, scikit-learn and keras",
    "timit": "TIMIT, Linguistic Data Consortium, LDC93S1: its licence agreement",
    "folder": "one's own recordings, where they had no times aligned by pocketsphinx 5.1.1 "
    "(BSD-2-Clause)",
    "textgrid": "one's own recordings",
    "align": "one's own recordings, aligned by pocketsphinx 5.1.1 (BSD-2-Clause)",
}


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
    from apps.phoneme_tagging import datasets
    from common.export import saved_model
    from common.inputs import sound_files
    from common.inputs.audio import SAMPLE_RATE

    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    tagger = load_tagger(run_dir)
    card = {
        "task": "phoneme tagging",
        "inputs": {
            "waveform": "float32 (batch, samples) in [-1, 1], 16 kHz, at least 400 samples",
            "num_samples": "int32 (batch,), what is real of each row",
        },
        "outputs": {
            "phone": 'string (batch, frames), a frame is 10 ms; "" beyond the end',
            "probability": "float32 (batch, frames), of that phone by the network",
            "start_s": "float32 (frames,), seconds",
        },
        "signatures": {
            "wav": "wav string (batch,): WAV bytes, 16-bit PCM at 16 kHz, the mean of the channels "
            "-> the same outputs; other kinds are an error that says so",
        },
        "training_data": config.data.name,
        "metrics": saved_model.stored_metrics(run.path),
        "licences": [LICENCES[config.data.name]],
    }
    path = output or run.path / format
    draw = np.random.default_rng(1).normal(0, 0.1, (2, SAMPLE_RATE)).clip(-1, 1)
    wavs = [sound_files.encode(draw[0]), sound_files.encode(draw[1, :999])]
    if format == "saved_model":
        waveform = draw.astype(np.float32).tolist()
        saved_model.write_saved_model(
            tagger,
            path,
            card=card,
            probe={"waveform": waveform, "num_samples": [SAMPLE_RATE, 5000]},
            others={"wav": {"wav": wavs}},
            examples=datasets.example_arguments,
        )
    else:
        _write_runtime(tagger, config, run.path, path, card, wavs, format=format)
    return path


def _write_runtime(tagger, config: Config, run_path: Path, path: Path, card, wavs, **options):
    """The network for another runtime; features and decoding are in runtime.py."""
    import tensorflow as tf

    from common.export import portable
    from common.export.conversion import Part

    portable.require_portable(tagger.network.func)
    inputs = tagger.network.func.input
    features, mask = inputs["features"], inputs["frame_mask"]
    part = Part(
        lambda **given: {"logits": tagger.network(given)["logits"]},
        {
            "features": tf.TensorSpec(features.shape, tf.float32),
            "frame_mask": tf.TensorSpec(mask.shape, tf.bool),
        },
    )
    probes = []
    for wav in wavs:
        found = tagger.wav(tf.constant([wav]))
        wanted = {name: found[name][0].numpy() for name in ("phone", "probability")}
        probes.append(({"wav": wav}, {**wanted, "start_s": found["start_s"].numpy()}))
    portable.write_runtime(
        path,
        {"model": part},
        sources=[Path(__file__).parent / "runtime.py"],
        settings={
            "features": config.model.features,
            "num_mels": config.model.num_mels,
            "acoustic_weight": config.model.acoustic_weight,
            "min_frames": config.model.min_frames,
            "offset": tagger.decoder.offset.numpy().tolist(),
            "transitions": tagger.decoder.transitions.numpy().tolist(),
        },
        copies=[run_path / "vocab_phones.txt"],
        card={
            **card,
            "inputs": {"wav": "bytes, 16-bit PCM at 16 kHz"},
            "outputs": {
                "phone": "string (frames,), a frame is 10 ms",
                "probability": "float32 (frames,), of that phone by the network",
                "start_s": "float32 (frames,), seconds",
            },
        },
        probes=probes,
        **options,
    )


def main(
    *,
    run_dir: Path,
    output: Path | None = None,
    format: cli.ExportFormat = "saved_model",
) -> None:
    """Writes a run as a SavedModel: waveforms or WAV bytes in, phones and their times out.

    Args:
        run_dir: Folder that `train` wrote.
        output: Folder to write; RUN_DIR/FORMAT by default.
        format: For TensorFlow, or for ONNX Runtime or LiteRT, also with matrices in eight bits.
    """
    print(export(run_dir, output, format=format))


if __name__ == "__main__":
    cli.run(main, app=APP)
