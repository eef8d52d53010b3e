"""The data sets of translation: official files -> records on disk -> tf.data.

A record is a text and its translation:

    source   string        target_language   string, a code such as "de"
    target   string
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import tensorflow_datasets as tfds

from apps.translation.config import APP, DataConfig
from apps.translation.corpora import emoji_names, formats, home_assistant
from apps.translation.corpora.formats import Pair, Parts
from common.inputs import builders, datasets
from common.runs.errors import UserError

READERS = {  # by --data.name, of those that need --data.root
    "multi30k": formats.read_multi30k,
    "tatoeba": formats.read_tatoeba,
    "folder": formats.read_folder,
}
PACKAGES = {"emoji_names": emoji_names, "home_assistant": home_assistant}


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """A data set and its files. Its name changes when they do, so stale data is never used."""

    read: Callable[[], Parts] = dict


class TextPairs(builders.Builder):
    """Stores the records of any of the data sets."""

    name = APP
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        features = {"source": text, "target": text, "target_language": text}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        parts = self.builder_config.read()
        return {part: self._generate_examples(pairs) for part, pairs in parts.items()}

    def _generate_examples(self, pairs: Iterable[Pair]) -> Iterator:
        return datasets.examples(enumerate(pairs), make_records, self.broken)


def make_records(row: tuple[int, Pair], broken: datasets.BrokenRows) -> Iterator[tuple[str, dict]]:
    """The (key, record) of a pair; one without letters or digits on a side is counted, left out."""
    number, pair = row
    is_empty = not all(any(map(str.isalnum, text)) for text in (pair.source, pair.target))
    if broken.use(pair.where, pair.problem or ("empty text" if is_empty else None)):
        language = pair.target_language
        record = {"source": pair.source, "target": pair.target, "target_language": language}
        yield f"{number} {pair.where} {language}", record


def make_builder(config: DataConfig) -> TextPairs:
    """The builder of a data set, before anything but the list of its files is read.

    Raises:
        UserError: a file, a package or a language is missing.
    """
    languages = config.source_language, config.target_languages
    facts = [" ".join((config.source_language, *config.target_languages))]
    if config.name in PACKAGES:
        module = PACKAGES[config.name]
        module.check(*languages)
        facts.append(module.PACKAGE)
        read, paths = functools.partial(module.read, *languages), []
    else:
        root = config.root
        if root is None or not root.is_dir():
            raise UserError(
                f"expected --data.root, the folder with the files of {config.name}, got {root}"
            )
        read = functools.partial(READERS[config.name], root, *languages)
        paths = [path for path in sorted(root.iterdir()) if path.is_file()]
    state = datasets.fingerprint(paths, facts=facts)
    return TextPairs(
        config=Source(name=f"{config.name}-{state}", read=read),
        data_dir=None if config.cache_dir is None else str(config.cache_dir),
    )


def example_arguments() -> list[str]:
    """Arguments for `predict` with a name of the default data."""
    return ["--text", "woman firefighter dark skin tone"]
