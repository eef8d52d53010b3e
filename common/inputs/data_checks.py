"""The report of `check_data` of every app: sizes, lengths, words, broken rows, enough or not.

The app counts, and states its demands, each number with its reason.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import tyro

from common.inputs import datasets
from common.runs import cli

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

    from common.inputs import text

PARTS = ("train", "validation", "test")
_NAMED = 20  # broken rows that the report lists


def command(check: "Callable[..., Report]", config_type: type) -> Callable[..., None]:
    """The `main` of an app's check_data.py, for its `check(config, plot)`."""
    data_options, defaults = tyro.conf.arg(name="data"), config_type()

    def main(
        *,
        data: Annotated[config_type, data_options] = defaults,  # pyright: ignore[reportInvalidTypeForm]
        plot: cli.OutputFile = None,
    ) -> None:
        """Prints what is in a data set and whether it is enough for a training.

        Args:
            data: The same options as those of `train`.
            plot: Draw a contact sheet to this file.
        """
        print(check(data, plot).as_text())

    return main


class Demand(NamedTuple):
    """A number that training needs: `got` must be at least `bound`, or at most with `most`.

    Attributes:
        what: "training images"; where the bound is a share, "of the training images ...".
        advice: what to do where it is not met.
    """

    what: str
    got: float
    bound: float
    advice: str
    most: bool = False

    @property
    def met(self) -> bool:
        """Whether there is enough, or not too much."""
        return self.got <= self.bound if self.most else self.got >= self.bound

    def __str__(self) -> str:
        def written(number: float) -> str:
            form = ".1%" if self.bound <= 1 else ",.3g" if number < 10 else ",.0f"
            return format(number, form)

        word = "at most" if self.most else "at least"
        return f"{written(self.got)} {self.what}, {word} {written(self.bound)}"


class Tally:
    """What one pass over all records counts.

    Attributes:
        counts: by part ("train", ...), how many of what.
        texts: by part and what is measured, "words of a question": `survey` counts.
        words, classes: by part, how often each occurs.
        lengths: of training, by what is measured.
        sample: some training records, each drawn with the same chance.
    """

    def __init__(self, size: int):
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.texts: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.words: dict[str, Counter[str]] = defaultdict(Counter)
        self.classes: dict[str, Counter[str]] = defaultdict(Counter)
        self.lengths: dict[str, list[float]] = defaultdict(list)
        self.sample: list[dict] = []
        self._size, self._seen, self._draw = size, 0, random.Random(0)

    def offer(self, record: dict) -> None:
        """Adds the record to the sample, or not, perhaps in place of an earlier one."""
        self._seen += 1
        if len(self.sample) < self._size:
            self.sample.append(record)
        elif (place := self._draw.randrange(self._seen)) < self._size:
            self.sample[place] = record

    def few_unknown_words(self, most: float, advice: str) -> Demand:
        """That at most such a share of the words of validation is not in training."""
        share = unknown_share(self.words["train"], self.words["validation"])
        what = "of the words of validation unknown in training"
        return Demand(what, share, most, advice, most=True)

    def no_single_class(self, name: str, most: float, advice: str) -> Demand:
        """That at most such a share of training is of one class, whose members are called so."""
        classes = self.classes["train"]
        share = max(classes.values(), default=0) / max(classes.total(), 1)
        return Demand(f"of the training {name} the commonest one", share, most, advice, most=True)


class Report(NamedTuple):
    """The counts; `demands` is what training needs, `notes` a line each."""

    tally: Tally
    notes: Sequence[str]
    broken: datasets.BrokenRows
    demands: Sequence[Demand]

    def as_text(self) -> str:
        """Tables for people, and at the end the sentence whether it is enough."""
        counts = self.tally.counts
        lines = [f"{'':<24}" + "".join(f"{part:>12}" for part in PARTS)]
        for what in dict.fromkeys(what for part in PARTS for what in counts[part]):
            lines.append(f"{what:<24}" + "".join(f"{counts[part][what]:>12,}" for part in PARTS))
        lines.append("")
        # Where every training row is broken there are none.
        for what, values in filter(lambda item: item[1], self.tally.lengths.items()):
            least, half, most = np.quantile(values, [0, 0.5, 1])
            lines.append(f"{what}: {least:.4g} to {most:.4g}, half of them up to {half:.4g}")
        lines += self.notes
        lines.append(f"broken rows: {len(self.broken.skipped):,} of {self.broken.num_rows:,}")
        lines += [f"  {row}" for row in self.broken.skipped[:_NAMED]]
        if len(self.broken.skipped) > _NAMED:
            lines.append(f"  and {len(self.broken.skipped) - _NAMED:,} more")
        lines.append("")
        lines += [f"{'yes' if demand.met else 'NO':<4}{demand}" for demand in self._all_demands()]
        return "\n".join([*lines, "", self.verdict()])

    def verdict(self) -> str:
        """A sentence: whether it is enough to train, and if not what to do."""
        unmet = [demand for demand in self._all_demands() if not demand.met]
        if not unmet:
            return "Enough to train."
        advice = "; ".join(f"{demand}: {demand.advice}" for demand in unmet)
        return f"Not enough to train: {advice}."

    def _all_demands(self) -> list[Demand]:
        share = len(self.broken.skipped) / max(self.broken.num_rows, 1)
        bound, advice = datasets.MAX_BROKEN, "correct or remove them, training would stop"
        broken = Demand("of the rows broken", share, bound, advice, most=True)
        return [*self.demands, broken]


def survey(
    builder: "tfds.core.GeneratorBasedBuilder",
    count: Callable[[Tally, str, dict], None],
    *,
    size: int,
    tokenizer: "text.Split | None" = None,
) -> Tally:
    """Counts the records of each part as preparation would make them; nothing is written.

    All broken rows are collected in `builder.broken`, where preparation would give up. `count` adds
    a record of a part to the tally, whose sample has `size` records. `tokenizer` finds the words of
    texts, `text.WORDS` by default.

    Raises:
        UserError: a file is missing, or no table.
    """
    import tensorflow as tf

    from common.inputs import text

    builder.broken.max_share = 1.0
    tally = Tally(size)
    parts = builder._split_generators(None)
    for part in PARTS:
        records: Iterator[tuple[str, dict]] = iter(parts.get(part, ()))
        for _, record in cli.progress(records, part):
            count(tally, part, record)
            if part == "train":
                tally.offer(record)
    for (part, what), texts in tally.texts.items():
        words = (tokenizer or text.WORDS)(tf.constant(texts))
        tally.words[part].update(word.decode() for word in words.flat_values.numpy())
        if part == "train":
            tally.lengths[what] += words.row_lengths().numpy().tolist()
    return tally


def unknown_share(known: Counter, counted: Counter) -> float:
    """The share of `counted` that is not among `known`; 1 where nothing was counted."""
    total = counted.total()
    return sum(n for item, n in counted.items() if item not in known) / total if total else 1.0


def frequent_share(counts: Counter, least: int) -> float:
    """The share of what was counted that was so at least `least` times."""
    total = counts.total()
    return sum(n for n in counts.values() if n >= least) / total if total else 0.0


def commonest(counts: Counter, most: int = 8) -> str:
    """The commonest and their shares, in a line."""
    total = counts.total()
    return ", ".join(f"{item} {n / total:.0%}" for item, n in counts.most_common(most))
