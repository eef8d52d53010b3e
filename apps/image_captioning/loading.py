"""The parts of a run that `evaluate`, `predict` and `export` use."""

from pathlib import Path

from apps.image_captioning.config import APP, Config
from common.runs import RunDirectory


def load_captioner(run_dir: Path, *, beam: int | None = None):
    """The inference part of a run: image bytes in, captions out (model.Captioner)."""
    from apps.image_captioning.model import Captioner

    config = RunDirectory.open(run_dir, app=APP).read_config(Config)
    network, writer = load_network(run_dir)
    return Captioner(network, writer, beam=beam or config.decoding.beam)


def load_network(run_dir: Path):
    """The network of a run, with its best weights, and what writes its captions (writer.Writer)."""
    from apps.image_captioning.model import build_network, make_image_encoder
    from apps.image_captioning.writer import Writer
    from common.text import Vocabulary

    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    words = Vocabulary.load(run.path / "vocab_words.txt")
    trained = run.load_model()
    frozen = not config.model.train_image_encoder
    encoder = run.load_model("encoder.keras") if frozen else make_image_encoder(config.model)
    network = build_network(config.model, len(words), encoder)
    network.model.set_weights(trained.get_weights())
    writer = Writer(
        network.decoder,
        words,
        max_words=config.data.max_caption_words,
        length_penalty=config.decoding.length_penalty,
    )
    return network, writer
