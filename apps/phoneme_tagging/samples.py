"""What a network in training hears in a few validation utterances, for TensorBoard."""

from collections.abc import Iterator
from pathlib import Path

import keras

from apps.phoneme_tagging import data, plots
from apps.phoneme_tagging.config import Config
from apps.phoneme_tagging.model import Decoder, Tagger
from apps.phoneme_tagging.predict import Predictor
from common.inputs.text import Vocabulary
from common.training import logging as training_log


def make_samples(
    model: keras.Model, phones: Vocabulary, decoder: Decoder, config: Config
) -> training_log.Samples:
    """Tags the first utterances of the validation part."""
    predictor = Predictor(Tagger(model, phones, decoder, config.model), config.model)
    records = data.load_split(config.data, "validation")
    shown = list(records.take(training_log.NUM_SAMPLES).as_numpy_iterator())

    def tell(folder: Path) -> Iterator[training_log.Sample]:
        for number, record in enumerate(shown):
            waveform = record["waveform"] / 32768.0
            transcript = predictor.tag(waveform)
            path, title = folder / f"{number}.png", record["utterance_id"].decode()
            plots.phones_over_spectrogram(waveform, transcript, title=title, path=path)
            heard = " ".join(one.phone for one in transcript.phones)
            right = " ".join(phone.decode() for phone in record["phone"])
            yield training_log.Sample(f"{title}: **{heard}** (right: {right})", path)

    return tell
