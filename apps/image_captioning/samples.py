"""What a network in training writes about a few validation images, for TensorBoard."""

from collections.abc import Iterator
from pathlib import Path

from apps.image_captioning import data, plots
from apps.image_captioning.config import Config
from apps.image_captioning.model import Captioner, Network
from apps.image_captioning.predict import Predictor
from apps.image_captioning.writer import Writer
from common.inputs import images
from common.training import logging as training_log


def make_samples(network: Network, writer: Writer, config: Config) -> training_log.Samples:
    """Captions the first images of the validation part."""
    predictor = Predictor(Captioner(network, writer, beam=1))
    records = data.load_split(config.data, "validation").records
    shown = list(records.take(training_log.NUM_SAMPLES).as_numpy_iterator())

    def tell(folder: Path) -> Iterator[training_log.Sample]:
        for number, record in enumerate(shown):
            image, right = record["image"], record["captions"][0].decode()
            (found,) = predictor.caption([image])
            caption, path = found.captions[0][0], folder / f"{number}.png"
            pixels = images.decode(image).numpy()
            plots.words_over_images([(pixels, found.tokens, found.attention, caption)], path=path)
            yield training_log.Sample(f"**{caption}** (right: {right})", path)

    return tell
