"""Writes a run as a SavedModel that takes waveforms or the bytes of WAV files.

python -m apps.phoneme_tagging.export --run-dir runs/phones [--output DIR]
"""

from pathlib import Path
from typing import Literal

import numpy as np

from apps.phoneme_tagging.config import APP, Config
from apps.phoneme_tagging.predict import load_tagger
from common import cli
from common.runs import RunDirectory

LICENCES = {
    "espeak": "speech synthesised by espeak-ng 1.52 (the program is GPL-3.0-or-later, its sound is "
    "not covered); sentences from the documentation of numpy, scikit-learn and keras",
    "timit": "TIMIT, Linguistic Data Consortium, LDC93S1: its licence agreement",
    "textgrid": "one's own recordings",
    "align": "one's own recordings, aligned by pocketsphinx 5.1.1 (BSD-2-Clause)",
}


def export(run_dir: Path, output: Path | None = None) -> Path:
    """Writes the SavedModel and checks it in a fresh process that has TensorFlow alone.

    Args:
        run_dir: written by `train`.
        output: a folder; `run_dir/saved_model` by default. An older export there is replaced.

    Raises:
        UserError: no run of this app.
    """
    from apps.phoneme_tagging import datasets
    from common import exporting, sound_files
    from common.audio import SAMPLE_RATE

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
        "metrics": exporting.stored_metrics(run.path),
        "licences": [LICENCES[config.data.name]],
    }
    draw = np.random.default_rng(1).normal(0, 0.1, (2, SAMPLE_RATE)).clip(-1, 1)
    waveform = draw.astype(np.float32).tolist()
    path = output or run.path / "saved_model"
    exporting.write_saved_model(
        tagger,
        path,
        card=card,
        probe={"waveform": waveform, "num_samples": [SAMPLE_RATE, 5000]},
        others={"wav": {"wav": [sound_files.encode(draw[0]), sound_files.encode(draw[1, :999])]}},
        examples=datasets.example_arguments,
    )
    return path


def main(
    *, run_dir: Path, output: Path | None = None, format: Literal["saved_model"] = "saved_model"
) -> None:
    """Writes a run as a SavedModel: waveforms or WAV bytes in, phones and their times out.

    Args:
        run_dir: Folder that `train` wrote.
        output: Folder to write; RUN_DIR/saved_model by default.
        format: What to write.
    """
    print(export(run_dir, output))


if __name__ == "__main__":
    cli.run(main, app=APP)
