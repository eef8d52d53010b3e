"""The field's scores of captions: BLEU, ROUGE-L, CIDEr-D, METEOR and how far captions are copies.

All compare words as `ptb.tokenize` splits them. Generated captions come from free-running decoding;
each image has one caption and one or more references.
"""

import functools
import math
import shutil
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from apps.image_captioning.corpora.ptb import tokenize

_LONGEST = 4  # words of an n-gram
_SIGMA = 6.0  # of CIDEr-D's penalty on a difference of length


def references_of(batch: Mapping) -> list[list[str]]:
    """What people say about each image of a batch of data.py."""
    rows = batch["captions"].numpy()
    return [[caption.decode() for caption in row if caption] for row in rows]


def score(generated: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Metrics over all images: fractions, but for `cider`, which lies between 0 and 10.

    `bleu_1` ... `bleu_4`, `rouge_l` and `cider` are those of the COCO caption evaluation
    (Chen et al. 2015, https://arxiv.org/abs/1504.00325): BLEU over the corpus without smoothing,
    with the closest reference length; CIDEr-D (Vedantam et al. 2015,
    https://arxiv.org/abs/1411.5726) with document frequencies from `references`, so that it depends
    on all images that are scored together, and is 0 for a single one. `exact_match` is the share of
    captions with the words of one of their references, `word_f1` the mean F1 of the bags of words
    with the best reference, `distinct_captions` the share of different captions among all.

    Args:
        generated: a caption for each image.
        references: one or more for each image.
    """
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider as OfficialCider
    from pycocoevalcap.rouge.rouge import Rouge

    captions, targets = _tokenized(generated, references)
    bleu, _ = Bleu(_LONGEST).compute_score(targets, captions, verbose=0)
    words = [tuple(caption.split()) for (caption,) in captions.values()]
    right = [[tuple(target.split()) for target in of_image] for of_image in targets.values()]
    pairs = list(zip(words, right, strict=True))
    return {
        **{f"bleu_{size}": float(value) for size, value in enumerate(bleu, 1)},
        "rouge_l": float(Rouge().compute_score(targets, captions)[0]),
        "cider": float(OfficialCider().compute_score(targets, captions)[0]),
        "exact_match": statistics.fmean(caption in of_image for caption, of_image in pairs),
        "word_f1": statistics.fmean(
            max(_f1(caption, target) for target in of_image) for caption, of_image in pairs
        ),
        "distinct_captions": len(set(words)) / len(words),
    }


def meteor(generated: Sequence[str], references: Sequence[Sequence[str]]) -> float | None:
    """METEOR 1.5 (Denkowski & Lavie 2014, https://aclanthology.org/W14-3348), in [0, 1].

    None where there is no Java, in which it is written. Takes some seconds and 2 GB.
    """
    if shutil.which("java") is None:
        return None
    from pycocoevalcap.meteor.meteor import Meteor

    captions, targets = _tokenized(generated, references)
    scorer = Meteor()
    try:
        return float(scorer.compute_score(targets, captions)[0])
    finally:  # it ends its process, and leaves these open
        scorer.meteor_p.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
        scorer.meteor_p.stderr.close()  # pyright: ignore[reportOptionalMemberAccess]


def copied_share(generated: Sequence[str], training: Collection[str]) -> float:
    """The share of captions that occur word for word among the captions of training."""
    copies = {tuple(tokenize(caption)) for caption in training}
    return statistics.fmean(tuple(tokenize(caption)) in copies for caption in generated)


class Cider:
    """CIDEr-D against fixed document frequencies, such as those of the captions of training.

    A caption alone is scored as among thousands. Where the documents are the references themselves,
    the mean is the `cider` of `score`.

    Args:
        documents: all captions of each image.
    """

    def __init__(self, documents: Sequence[Sequence[str]]):
        if not documents:
            raise ValueError("expected captions of at least one image, got none")
        self.frequencies: Counter = Counter()
        for captions in documents:
            self.frequencies.update({gram for caption in captions for gram in _ngrams(caption)})
        self.log_total = math.log(len(documents))
        self._vector = functools.lru_cache(maxsize=100_000)(self._make_vector)

    def score(self, caption: str, references: Sequence[str]) -> float:
        """In [0, 10]: the mean similarity to the references."""
        return statistics.fmean(self.similarity(caption, reference) for reference in references)

    def similarity(self, caption: str, reference: str) -> float:
        """In [0, 10]; 10 for two equal captions of at least four words that are not in all images.

        10 / 4 * exp(-(difference of lengths) ** 2 / (2 * 36)) * sum over n of
            sum over n-grams of min(g, h) * h / (|g| |h|)
        """
        ours, theirs = self._vector(caption), self._vector(reference)
        total = 0.0
        for ngrams, others, norm, other_norm in zip(
            ours.weights, theirs.weights, ours.norms, theirs.norms, strict=True
        ):
            shared = ngrams.keys() & others.keys()
            product = sum(min(ngrams[gram], others[gram]) * others[gram] for gram in shared)
            total += product / (norm * other_norm) if product else 0.0
        difference = ours.num_bigrams - theirs.num_bigrams
        return 10.0 / _LONGEST * total * math.exp(-(difference**2) / (2 * _SIGMA**2))

    def _make_vector(self, caption: str) -> "_Vector":
        weights: list[dict[tuple, float]] = [{} for _ in range(_LONGEST)]
        counts = _ngrams(caption)
        for gram, count in counts.items():
            rarity = self.log_total - math.log(max(1, self.frequencies[gram]))
            weights[len(gram) - 1][gram] = count * rarity
        norms = [math.sqrt(sum(weight**2 for weight in part.values())) for part in weights]
        num_bigrams = sum(count for gram, count in counts.items() if len(gram) == 2)
        return _Vector(weights, norms, num_bigrams)


class _Vector(NamedTuple):
    """Weights of the n-grams of a caption for each n, their norms, and the official length."""

    weights: list[dict[tuple, float]]
    norms: list[float]
    num_bigrams: int


def consensus(
    candidates: Sequence[str],
    neighbours: Sequence[Sequence[str]],
    cider: Cider,
    *,
    weights: Sequence[float] | None = None,
) -> list[float]:
    """How well each candidate agrees with the captions of similar images; the best is the highest.

    The weighted mean, over the similar images, of the CIDEr-D against the captions of each. Devlin
    et al. 2015, https://arxiv.org/abs/1505.04467. Candidates are the captions of a beam, or the
    neighbours themselves, of which the best is the caption that retrieval gives.

    Args:
        candidates: captions of one image.
        neighbours: captions of each of the training images that are most like it.
        cider: with document frequencies of the captions of training.
        weights: of each similar image; all alike when not given.
    """
    if not neighbours:
        raise ValueError("expected captions of at least one similar image, got none")
    return [
        statistics.fmean((cider.score(candidate, captions) for captions in neighbours), weights)
        for candidate in candidates
    ]


def _tokenized(generated, references) -> tuple[dict, dict]:
    """Captions and references by the number of their image, as the official scorers take them."""
    if not generated or not all(references):
        raise ValueError("expected captions and, for each, references; got none")
    if len(generated) != len(references):
        raise ValueError(f"expected {len(generated)} lots of references, got {len(references)}")
    captions = {image: [" ".join(tokenize(caption))] for image, caption in enumerate(generated)}
    targets = {
        image: [" ".join(tokenize(target)) for target in of_image]
        for image, of_image in enumerate(references)
    }
    return captions, targets


def _ngrams(caption: str) -> Counter:
    words = tokenize(caption)
    return Counter(
        tuple(words[start : start + size])
        for size in range(1, _LONGEST + 1)
        for start in range(len(words) - size + 1)
    )


def _f1(words: Sequence[str], reference: Sequence[str]) -> float:
    shared = sum((Counter(words) & Counter(reference)).values())
    total = len(words) + len(reference)
    return 2 * shared / total if total else 1.0
