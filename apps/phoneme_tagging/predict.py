"""Tags a sound file with a trained run: phones and their times.

python -m apps.phoneme_tagging.predict --run-dir runs/phones --wav speech.wav
"""

import json as json_module
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from apps.phoneme_tagging.config import APP
from apps.phoneme_tagging.tagging import transcripts
from apps.phoneme_tagging.tagging.transcripts import Phone, Transcript
from common.runs import cli, files
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

if TYPE_CHECKING:
    from apps.phoneme_tagging.model import Tagger
    from apps.phoneme_tagging.tagging.streaming import Stream
    from common.training.logging import Samples

STANDARD_INPUT = Path("-")


class Predictor:
    """A loaded run, to ask as often as one likes."""

    def __init__(self, tagger: "Tagger"):
        import tensorflow as tf

        from common.lstm.layer import machine_code

        self.tagger = tagger
        waveforms = (tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32))
        self._hear = tf.function(tagger.hear, autograph=False, input_signature=waveforms)
        with machine_code():
            self._hear.get_concrete_function()
        self._decode = tf.function(tagger.decode, autograph=False, reduce_retracing=True)
        self.choices = [phone.decode() for phone in tagger.phones.numpy()[:-1]]

    @classmethod
    def load(cls, run_dir: Path) -> "Predictor":
        """Loads the best model of a run.

        Raises:
            UserError: no run of this app, or its model is missing or damaged.
        """
        RunDirectory.open(run_dir, app=APP)  # a misspelt folder need not wait for TensorFlow

        from apps.phoneme_tagging.model import load_inference

        return cls(load_inference(run_dir))

    def tag(self, waveform: np.ndarray) -> Transcript:
        """Tags a recording; a long one is heard in windows and decoded as a whole.

        Args:
            waveform: float (samples,) in [-1, 1] at 16 kHz; `sound_files.read` makes one.

        Raises:
            UserError: shorter than 25 ms, or samples that are no numbers.
        """
        from apps.phoneme_tagging.tagging import streaming
        from common.inputs.audio import SAMPLE_RATE, WINDOW

        if len(waveform) < WINDOW:
            raise UserError(f"expected at least {WINDOW} samples, 25 ms, got {len(waveform)}")
        if not np.isfinite(waveform).all():
            raise UserError("expected numbers as samples, got NaN or infinity: look at the file")
        logits = streaming.logits_in_windows(self.hear, waveform.astype(np.float32))
        tagged = self._decode(logits[None], np.ones([1, len(logits)], bool))
        frames = [phone.decode() for phone in tagged["phone"][0].numpy()]
        probability = tagged["probability"][0].numpy().tolist()
        phones = transcripts.merge(frames, probability, end_s=len(waveform) / SAMPLE_RATE)
        return Transcript(phones, tagged["posteriors"][0].numpy(), self.choices)

    def hear(self, waveform: np.ndarray) -> np.ndarray:
        """Float32 (samples,) at 16 kHz -> logits float32 (frames, choices)."""
        return self._hear(waveform[None], np.array([len(waveform)], np.int32))[0][0].numpy()

    def stream(self) -> "Stream":
        """Tags a recording while it comes in.

        Raises:
            UserError: the run needs the whole recording.
        """
        from apps.phoneme_tagging.tagging.streaming import Stream

        network = self.tagger.network.func
        return Stream(network, self.choices, self.tagger.decoder, self.tagger.config)


def make_samples(tagger: "Tagger", records: Sequence[dict]) -> "Samples":
    """What a network in training hears in a few utterances, for TensorBoard."""
    from apps.phoneme_tagging.tagging import plots
    from common.training.logging import Sample

    predictor = Predictor(tagger)

    def tag_all(folder: Path) -> Iterator[Sample]:
        for number, record in enumerate(records):
            waveform = record["waveform"] / 32768.0
            transcript = predictor.tag(waveform)
            path, title = folder / f"{number}.png", record["utterance_id"].decode()
            plots.phones_over_spectrogram(waveform, transcript, title=title, path=path)
            answer = " ".join(phone.phone for phone in transcript.phones)
            reference = " ".join(phone.decode() for phone in record["phone"])
            yield Sample(f"{title}: **{answer}** (right: {reference})", path)

    return tag_all


def _hear(predictor: Predictor, path: Path, plot: Path | None) -> list[Phone]:
    from common.inputs import sound_files

    waveform = sound_files.read(path)
    transcript = predictor.tag(waveform)
    if plot is not None:
        from apps.phoneme_tagging.tagging import plots

        plots.phones_over_spectrogram(waveform, transcript, title=path.name, path=plot)
    return transcript.phones


def _listen(predictor: Predictor, *, quiet: bool) -> list[Phone]:
    """Tags standard input, and prints each phone when it is over; those of a file at once."""
    from common.inputs import sound_files

    is_file, chunks = sound_files.read_input()
    stream, phones = None if is_file else predictor.stream(), []
    for chunk in chunks:
        if stream is None:
            ended = predictor.tag(chunk).phones
        else:
            ended = stream.feed(chunk) if len(chunk) else stream.finish()
        if not quiet:
            _print(ended)
        phones += ended
    return phones


def _print(phones: list[Phone]) -> None:
    for name, start_s, end_s, probability in phones:
        print(f"{start_s:8.3f} {end_s:8.3f}  {name:<5} {probability:6.1%}", flush=True)


def main(
    *,
    run_dir: Path,
    wav: tuple[Path, ...],
    plot: cli.OutputFile = None,
    textgrid: cli.OutputFile = None,
    ctm: cli.OutputFile = None,
    json: bool = False,
) -> None:
    """Tags sound files with phones and their times.

    Args:
        run_dir: Folder that `train` wrote.
        wav: RIFF WAVE or NIST SPHERE files, any sample rate; or - for standard input: such a file,
            or raw 16-bit samples at 16 kHz, which a run that hears forwards tags while they come.
        plot: Write a picture of spectrogram, posteriors and phones, e.g. out.png, of one file.
        textgrid: Write the phones for Praat, e.g. out.TextGrid, of one file.
        ctm: Write the phones of all files for the scoring tools of NIST, e.g. out.ctm.
        json: Print one JSON object for each file, on a line of its own.
    """
    live = STANDARD_INPUT in wav
    if not wav or ((live or plot or textgrid) and len(wav) > 1) or (live and plot):
        raise UserError(
            f"expected --wav with sound files, got {len(wav)}: give one alone with --plot, with "
            "--textgrid and from standard input, which cannot be plotted"
        )
    names = ["stdin"] if live else transcripts.recording_names(wav if ctm else ())
    predictor, transcribed = Predictor.load(run_dir), {}

    def hear(path: Path) -> list[Phone]:
        return _listen(predictor, quiet=json) if live else _hear(predictor, path, plot)

    for path, phones in cli.read_each(wav, hear):
        transcribed[path] = phones
        if len(wav) > 1 and not json:
            print(f"{path}:")
        if json:
            phone_dicts = [phone._asdict() for phone in phones]
            print(json_module.dumps({"wav": str(path), "phones": phone_dicts}))
        elif not live:
            _print(phones)
        if textgrid is not None:
            transcripts.write_textgrid(textgrid, phones)
    if ctm is not None:
        named = [pair for pair in zip(names, wav, strict=True) if pair[1] in transcribed]
        lines = (transcripts.as_ctm(name, transcribed[path]) for name, path in named)
        files.write_text(ctm, "".join(lines))


if __name__ == "__main__":
    cli.run(main, app=APP)
