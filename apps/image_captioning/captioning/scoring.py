"""The field's scores of captions: BLEU, ROUGE-L, CIDEr-D, METEOR and how far captions are copies.

All compare words as `ptb.tokenize` splits them. Generated captions come from free-running decoding;
each image has one caption and one or more references.
"""

import shutil
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from apps.image_captioning.corpora.ptb import tokenize


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
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    captions, targets = _tokenized(generated, references)
    bleu, _ = Bleu(4).compute_score(targets, captions, verbose=0)
    words = [tuple(caption.split()) for (caption,) in captions.values()]
    right = [[tuple(target.split()) for target in of_image] for of_image in targets.values()]
    pairs = list(zip(words, right, strict=True))
    return {
        **{f"bleu_{size}": float(value) for size, value in enumerate(bleu, 1)},
        "rouge_l": float(Rouge().compute_score(targets, captions)[0]),
        "cider": float(Cider().compute_score(targets, captions)[0]),
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


def _tokenized(generated, references) -> tuple[dict, dict]:
    """Captions and references by the number of their image, as the official scorers take them."""
    captions = {image: [" ".join(tokenize(caption))] for image, caption in enumerate(generated)}
    targets = {
        image: [" ".join(tokenize(target)) for target in of_image]
        for image, of_image in enumerate(references)
    }
    return captions, targets


def _f1(words: Sequence[str], reference: Sequence[str]) -> float:
    shared = sum((Counter(words) & Counter(reference)).values())
    total = len(words) + len(reference)
    return 2 * shared / total if total else 1.0
