"""Translation: the training graph, and the part that takes text and gives translations.

source_ids int32 (batch, source_time), target_ids int32 (batch, target_time), PAD where none is
    -> logits (steps, pieces) of real steps of the target
"""

from pathlib import Path

import keras
import tensorflow as tf

from apps.translation.config import APP, Config, ModelConfig
from apps.translation.translating.networks import EncoderDecoder
from common.decoding.beam_search import beam_search
from common.decoding.sampling import Decoded
from common.inputs import subwords, text
from common.inputs.subwords import Subwords
from common.inputs.text import Vocabulary
from common.runs.directory import RunDirectory


def build_model(config: ModelConfig, num_pieces: int) -> keras.Model:
    """A new network for a vocabulary of `num_pieces`."""
    source_ids = keras.Input((None,), dtype="int32", name="source_ids")
    target_ids = keras.Input((None,), dtype="int32", name="target_ids")
    network = EncoderDecoder(
        num_pieces,
        piece_dim=config.piece_dim,
        units=config.units,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        attention=config.attention,
        reverse_source=config.reverse_source,
        dropout=config.dropout,
        name="network",
    )
    logits = network(source_ids, target_ids)
    return keras.Model({"source_ids": source_ids, "target_ids": target_ids}, logits)


class Translator(tf.Module):
    """Text to translations: what `predict` calls and `export` writes, so both give the same.

    text string (batch,), with a tag such as ">>de<< " before it where a run has several target
    languages; without one it is translated into the first of them
        -> translation string (batch, beam), best first, score float32 (batch, beam), their
        log-probabilities after the length penalty; source_pieces string (batch, source_time), of
        the best translation target_pieces string (batch, time), "" after their ends, and attention
        float32 (batch, time, source_time), each step summing to 1 up to the end.

    Raises:
        tf.errors.InvalidArgumentError: names the rows without text, or of another language.
    """

    def __init__(
        self,
        network: EncoderDecoder,
        pieces: Vocabulary,
        config: Config,
        *,
        beam: int | None = None,
    ):
        super().__init__()
        self.network = network  # tracked, for the export
        self.subwords, self.tokens = Subwords(pieces), tf.constant(pieces.tokens)
        self.languages = tf.constant(config.data.target_languages)
        self.first_language = pieces.tokens.index(config.data.language_tokens[0])
        self.beam = beam or config.decoding.beam
        self.length_penalty = config.decoding.length_penalty
        self.max_pieces = config.data.max_pieces
        num_languages = len(config.data.target_languages)
        languages = range(self.first_language, self.first_language + num_languages)
        self.rules = {
            "start_id": text.START,
            "end_id": text.END,
            "pad_id": text.PAD,
            "forbidden_ids": (text.PAD, text.UNK, text.START, *languages),
            "min_steps": 1,
            "max_steps": self.max_pieces + 1,
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def __call__(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the class."""
        source_ids = self.encode(text)
        return self.describe(source_ids, self.decode(source_ids))

    def encode(self, text: tf.Tensor) -> tf.Tensor:
        """Text as in the class -> source ids (batch, time): language, pieces, end."""
        is_tagged = tf.strings.regex_full_match(text, _TAGGED)
        code = tf.where(
            is_tagged, tf.strings.regex_replace(text, _TAGGED, r"\1"), self.languages[0]
        )
        words = tf.where(is_tagged, tf.strings.regex_replace(text, _TAGGED, r"\2"), text)
        is_language = code[:, None] == self.languages
        _assert_rows(tf.reduce_any(is_language, axis=1), "text", "a language of the run in its tag")
        piece_ids, piece_mask = self.subwords.encode(words, max_pieces=self.max_pieces)
        _assert_rows(piece_mask[:, 0], "text", "at least one letter")
        places = tf.argmax(is_language, axis=1, output_type=tf.int32)
        return subwords.framed(piece_ids, piece_mask, self.first_language + places)

    def decode(self, source_ids: tf.Tensor) -> Decoded:
        """Source ids -> `beam` translations a text, best first."""
        remembered, states = self.network.start(source_ids)
        return beam_search(
            lambda token_ids, states: self.network.step(token_ids, states, remembered),
            states,
            width=self.beam,
            length_penalty=self.length_penalty,
            **self.rules,
        )

    def describe(self, source_ids: tf.Tensor, decoded: Decoded) -> dict[str, tf.Tensor]:
        """Translations, best first -> what the class gives."""
        assert decoded.attention is not None
        return {
            "translation": self.subwords.decode(decoded.token_ids),
            "score": decoded.scores,
            "source_pieces": self.as_pieces(source_ids),
            "target_pieces": self.as_pieces(decoded.token_ids[:, 0]),
            "attention": decoded.attention[:, 0],
        }

    def as_pieces(self, ids: tf.Tensor) -> tf.Tensor:
        """Ids -> pieces as the vocabulary writes them, so that single bytes are valid text too."""
        return tf.where(ids == text.PAD, "", tf.gather(self.tokens, ids))


_TAGGED = r"(?s)\s*>>([\w-]+)<<(.*)"  # as the models of OPUS-MT take it


def _assert_rows(right: tf.Tensor, name: str, expected: str) -> None:
    """Fails inside the graph, naming the rows of `right` (batch,) that are False."""
    wrong = tf.where(tf.logical_not(right))[:, 0]
    message = [f"{name}: expected {expected}, found none in row", wrong]
    tf.debugging.Assert(tf.reduce_all(right), message, summarize=20)


def load_inference(run_dir: Path, *, beam: int | None = None) -> Translator:
    """The inference part of a run; `beam` is that of the run unless given.

    Raises:
        UserError: no run of this app, or its model is missing or damaged.
    """
    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    network = run.load_model().get_layer("network")
    num_pieces = network.arguments["num_pieces"]
    pieces = Vocabulary.load(run.path / "vocab_pieces.txt", size=num_pieces)
    return Translator(network, pieces, config, beam=beam)
