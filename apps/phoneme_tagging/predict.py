"""Tags a sound file with a trained run: phones and their times.

python -m apps.phoneme_tagging.predict --run-dir runs/phones --wav speech.wav
"""

import json as json_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.phoneme_tagging.config import APP, Config
from apps.phoneme_tagging.phones import runs
from common import cli, files
from common.errors import UserError
from common.runs import RunDirectory


class Phone(NamedTuple):
    """A phone, its time in seconds, and the mean probability of its frames."""

    phone: str
    start_s: float
    end_s: float
    probability: float


class Transcript(NamedTuple):
    """What the model hears in one recording.

    Attributes:
        phones: without gaps, in order.
        posteriors: float32 (frames, choices), of the network before decoding.
        choices: the phones that the columns of `posteriors` stand for.
    """

    phones: list[Phone]
    posteriors: np.ndarray
    choices: list[str]


class Predictor:
    """A loaded run, to ask as often as one likes."""

    def __init__(self, tagger):
        import tensorflow as tf

        self.tagger = tagger
        self._tag = tf.function(
            tagger.tag,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None], tf.int32),
            ],
        )

    @classmethod
    def load(cls, run_dir: Path) -> "Predictor":
        """Loads the best model of a run.

        Raises:
            UserError: no run of this app, or its model is missing or damaged.
        """
        return cls(load_tagger(run_dir))

    def tag(self, waveform: np.ndarray) -> Transcript:
        """Tags a recording.

        Args:
            waveform: float (samples,) in [-1, 1] at 16 kHz; `sound_files.read` makes one.

        Raises:
            UserError: shorter than 25 ms, or samples that are no numbers.
        """
        import tensorflow as tf

        from common.audio import WINDOW

        if len(waveform) < WINDOW:
            raise UserError(f"expected at least {WINDOW} samples, 25 ms, got {len(waveform)}")
        if not np.isfinite(waveform).all():
            raise UserError("expected numbers as samples, got NaN or infinity: look at the file")
        found = self._tag(
            tf.constant(waveform[None], tf.float32), tf.constant([len(waveform)], tf.int32)
        )
        frames = [phone.decode() for phone in found["phone"][0].numpy()]
        choices = [phone.decode() for phone in self.tagger.phones.numpy()[:-1]]
        phones = _merge(frames, found["probability"][0].numpy(), len(waveform))
        return Transcript(phones, found["posteriors"][0].numpy(), choices)


def load_tagger(run_dir: Path):
    """The inference part of a run: sound in, phones out (model.Tagger)."""
    from apps.phoneme_tagging.model import Decoder, Tagger
    from common.text import Vocabulary

    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    network = run.load_model()
    phones = Vocabulary.load(run.path / "vocab_phones.txt")
    decoder = Decoder(config.model, load_language_model(run.path))
    return Tagger(network, phones, decoder, config.model)


def load_language_model(run_path: Path):
    """The counts that training left in a run directory (model.LanguageModel)."""
    from apps.phoneme_tagging.model import LanguageModel

    stored = files.read_json(run_path / "phone_counts.json")
    return LanguageModel(np.asarray(stored["bigrams"]), np.asarray(stored["frames"]))


def _merge(frames: list[str], probability: np.ndarray, num_samples: int) -> list[Phone]:
    from common.audio import FRAME_S, SAMPLE_RATE

    found, merged = [], runs(frames)
    for (phone, start), (_, end) in zip(merged, [*merged[1:], ("", len(frames))], strict=True):
        until = end * FRAME_S if end < len(frames) else num_samples / SAMPLE_RATE
        mean = float(probability[start:end].mean())
        found.append(Phone(phone, round(start * FRAME_S, 3), round(until, 3), mean))
    return found


def main(
    *,
    run_dir: Path,
    wav: Path,
    plot: Path | None = None,
    textgrid: Path | None = None,
    json: bool = False,
) -> None:
    """Tags a sound file with phones and their times.

    Args:
        run_dir: Folder that `train` wrote.
        wav: RIFF WAVE or NIST SPHERE file, any sample rate.
        plot: Write a picture of spectrogram, posteriors and phones, e.g. out.png.
        textgrid: Write the phones for Praat, e.g. out.TextGrid.
        json: Print one JSON object.
    """
    from common import sound_files

    waveform = sound_files.read(wav)
    transcript = Predictor.load(run_dir).tag(waveform)
    if plot is not None:
        from apps.phoneme_tagging import plots

        plots.phones_over_spectrogram(waveform, transcript, title=wav.name, path=plot)
    if textgrid is not None:
        from apps.phoneme_tagging import textgrids

        textgrids.write(textgrid, transcript.phones)
    if json:
        phones = [phone._asdict() for phone in transcript.phones]
        print(json_module.dumps({"wav": str(wav), "phones": phones}))
        return
    for phone in transcript.phones:
        print(f"{phone.start_s:8.3f} {phone.end_s:8.3f}  {phone.phone:<5} {phone.probability:6.1%}")


if __name__ == "__main__":
    cli.run(main)
