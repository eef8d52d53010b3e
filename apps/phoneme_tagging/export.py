"""Writes a run as a SavedModel that takes waveforms or WAV bytes, or for another runtime.

python -m apps.phoneme_tagging.export --run-dir runs/phones [--output DIR] [--format onnx]
"""

from pathlib import Path

import numpy as np

from apps.phoneme_tagging.config import APP, Config
from common.runs import cli, directory
from common.runs.directory import RunDirectory

LICENCES = {
    "espeak": "speech synthesised by espeak-ng 1.52 (the program is GPL-3.0-or-later, its sound is "
    "not covered); sentences from the documentation of numpy, scikit-learn and keras",
    "timit": "TIMIT, Linguistic Data Consortium, LDC93S1: its licence agreement",
    "folder": "a user's own recordings, where they had no times aligned by pocketsphinx 5.1.1 "
    "(BSD-2-Clause)",
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
    from apps.phoneme_tagging.model import load_inference
    from common.export import saved_model
    from common.inputs import sound_files
    from common.inputs.audio import SAMPLE_RATE

    run, config = directory.open_run(run_dir, app=APP, config_type=Config)
    tagger = load_inference(run_dir)
    path = output or run.path / format
    noise = np.random.default_rng(1).normal(0, 0.1, (2, SAMPLE_RATE)).clip(-1, 1)
    wavs = [sound_files.encode(noise[0]), sound_files.encode(noise[1, :999])]
    if format == "saved_model":
        waveform = noise.astype(np.float32).tolist()
        saved_model.write_saved_model(
            tagger,
            path,
            card=make_card(run, config),
            probe={"waveform": waveform, "num_samples": [SAMPLE_RATE, 5000]},
            others={"wav": {"wav": wavs}},
            examples=datasets.example_arguments,
        )
    else:
        _write_runtime(tagger, run, config, path, wavs, format=format)
    return path


def make_card(run: RunDirectory, config: Config, *, of_runtime: bool = False) -> dict[str, object]:
    """What card.json of the export says; a runtime takes one WAV file at a time."""
    from common.export import card
    from common.inputs import audio

    batch = () if of_runtime else ("batch",)
    wav = card.wav(
        *batch,
        sample_rate=audio.SAMPLE_RATE,
        description="16-bit PCM at 16 kHz, the mean of the channels",
    )
    phone = 'a frame is 10 ms; "" beyond the end'
    of_that = "of that phone by the network"
    outputs = {
        "phone": card.text(*batch, "frames", description=phone),
        "probability": card.numbers("float32", *batch, "frames", description=of_that),
        "start_s": card.numbers("float32", "frames", description="seconds"),
    }
    waveform = card.numbers(
        *("float32", "batch", "samples"),
        description="in [-1, 1] at 16 kHz",
        sample_rate=audio.SAMPLE_RATE,
        min_samples=audio.WINDOW,
    )
    num_samples = card.numbers("int32", "batch", description="what is real of each row")
    return card.make_card(
        run,
        task="phoneme tagging",
        data=config.data.name,
        inputs={"wav": wav} if of_runtime else {"waveform": waveform, "num_samples": num_samples},
        outputs=outputs,
        licences=[LICENCES[config.data.name]],
        signatures=None if of_runtime else {"wav": {"inputs": {"wav": wav}, "outputs": outputs}},
    )


def _write_runtime(tagger, run: RunDirectory, config: Config, path: Path, wavs, *, format: str):
    """The network for another runtime; features and decoding are in runtime.py."""
    import tensorflow as tf

    from apps.phoneme_tagging.tagging import viterbi
    from common.export import portable
    from common.export.conversion import Part
    from common.inputs import wav

    portable.require_portable(tagger.network.func)
    inputs = tagger.network.func.input
    part = Part(
        lambda **frames: {"logits": tagger.network(frames)["logits"]},
        {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in inputs.items()},
    )
    probes = []
    for encoded in wavs:
        tagged = tagger.wav(tf.constant([encoded]))
        expected = {name: tagged[name][0].numpy() for name in ("phone", "probability")}
        probes.append(({"wav": encoded}, {**expected, "start_s": tagged["start_s"].numpy()}))
    portable.write_runtime(
        path,
        {"model": part},
        format=format,
        sources=[Path(__file__).parent / "runtime.py", Path(wav.__file__)],
        settings={
            "features": config.model.features,
            "num_mels": config.model.num_mels,
            "acoustic_weight": viterbi.ACOUSTIC_WEIGHT,
            "offset": tagger.decoder.offset.numpy().tolist(),
            "transitions": tagger.decoder.transitions.numpy().tolist(),
        },
        copies=[run.path / "vocab_phones.txt"],
        card=make_card(run, config, of_runtime=True),
        probes=probes,
    )


main = cli.export_command(export)


if __name__ == "__main__":
    cli.run(main, app=APP)
