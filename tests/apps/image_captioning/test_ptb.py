"""Facts about the words of captions, held against Stanford's tokenizer where Java is present."""

# ruff: noqa: RUF001  (quotes and dashes of all kinds are what is tested)

import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from apps.image_captioning.corpora import formats
from apps.image_captioning.corpora.ptb import tokenize

# What pycocoevalcap leaves out, word for word: its brackets are upper-case, so "-lrb-" stays.
PUNCTUATION = {"''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", *".?!,:-;", "--", "..."}
NEEDS_JAVA = pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")

# Left: a caption. Right: what Stanford's tokenizer makes of it, without punctuation.
CASES = {
    "A man's dog isn't here.": "a man 's dog is n't here",
    "She can't, won't, don't; ain't!": "she ca n't wo n't do n't ai n't",
    "I'm you're they've he'd she'll it's let's": "i 'm you 're they 've he 'd she 'll it 's let 's",
    "mustn't've she'd've dogs' DON'T": "must n't 've she 'd 've dogs do n't",
    "cannot gonna gotta gimme 'tis 'Twas y'all": "can not gon na got ta gim me 't is 't was y' all",
    "o'clock O'Brien's ma'am l'amour": "o'clock o'brien 's ma'am l'amour",
    "rock'n'roll rock 'n' roll goin' ol'": "rock 'n' roll rock 'n' roll goin ol'",
    "the '80s, 80's, 1980s 'em": "the '80s 80 's 1980s 'em",
    "\"double\" 'single' ``back'' `tick`": "double single back tick",
    "“curly” ‘single’ it’s don’t": "curly single it 's do n't",
    "well-known T-shirt -- dash - dash one--two -end-": (
        "well-known t-shirt dash dash one two end"
    ),
    "mother-in-law's dog's-eye don't-care": "mother-in-law 's dog 's eye do n't care",
    "em—dash en–dash wait... so… on . . . end": "em dash en dash wait so on end",
    "Mr. Smith of St. Louis vs. Inc. etc.": "mr. smith of st. louis vs. inc. etc.",
    "The U.S. team at 5 p.m., e.g. J.K. Rowling a.k.a": (
        "the u.s. team at 5 p.m. e.g. j.k. rowling a.k.a"
    ),
    "U.S.-based F.B.I.'s Ph.D. Plan B.": "u.s.-based f.b.i. 's ph.d. plan b.",
    "No. 5 no. nos. 7 approx. dog.": "no. 5 no nos. 7 approx dog",
    "Wash. wash. Miss. miss.": "wash. wash miss. miss",
    "end of one.Next one?Next one!!Next": "end of one.next one?next one !! next",
    "what?! no!!! wow?? ! ?": "what ?! no !!! wow ??",
    "3.5 million 1,000 10% $5 #1 1/2 3:30 5:30pm": (
        "3.5 million 1,000 10 % $ 5 # 1 1/2 3:30 5:30 pm"
    ),
    ".5 -5 +5 5. 5-0 3.5-inch 2.5ft 1,2 v2.0": ".5 -5 +5 5 5-0 3.5-inch 2.5 ft 1,2 v2 .0",
    "10am 2nd 4x4 3-d 10-year-old": "10am 2nd 4x4 3-d 10-year-old",
    "and/or w/ b/w w/o a / b": "and/or w / b/w w/o a / b",
    "(round) [square] {curly}": "-lrb- round -rrb- -lsb- square -rsb- -lcb- curly -rcb-",
    "AT&T R&B M&Ms b&w &amp; black & white": "at&t r&b m&m s b & w & black & white",
    "a+b a=b *star* **two** foo_bar __ C++ C#": "a + b a = b * star * ** two ** foo_bar __ c++ c#",
    "me@site.org http://t.co/a?b=c. #tag @name site.com": (
        "me@site.org http://t.co/a?b=c #tag @name site.com"
    ),
    "happy :) sad :-( :D": "happy :-rrb- sad :--lrb- :d",
    "<b>bold</b> a < b": "<b> bold </b> a < b",
    "café NAÏVE Ångström Привет 日本語": "café naïve ångström привет 日本語",
    "½ cup €5 £5 5° ♥ 😀 smile": "1/2 cup $ 5 # 5 5 ° ♥ smile",
    "tab\tbetween  two": "tab between two",
    "...": "",
    "": "",
}


@pytest.mark.parametrize("caption", CASES)
def test_words_of(caption):
    assert " ".join(tokenize(caption)) == CASES[caption]


def by_java(captions: list[str]) -> list[list[str]]:
    """The words that pycocoevalcap would score."""
    jar = metadata.distribution("pycocoevalcap").locate_file(
        "pycocoevalcap/tokenizer/stanford-corenlp-3.4.1.jar"
    )
    program = ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    done = subprocess.run(
        ["java", "-cp", str(jar), *program, "-encoding", "UTF-8"],
        input="\n".join(captions).encode(),
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode().split("\n")[: len(captions)]
    return [[word for word in line.split() if word not in PUNCTUATION] for line in lines]


@NEEDS_JAVA
def test_the_cases_are_what_stanfords_tokenizer_gives():
    captions = [caption for caption in CASES if caption]  # Java drops the lines that are empty
    assert [" ".join(words) for words in by_java(captions)] == [CASES[one] for one in captions]


@NEEDS_JAVA
@pytest.mark.data
@pytest.mark.skipif("CELLSTATE_DATA" not in os.environ, reason="CELLSTATE_DATA is not set")
def test_all_captions_of_published_sets_have_stanfords_words():
    captions = set()
    for path in Path(os.environ["CELLSTATE_DATA"]).glob("*/dataset.json"):
        parts = formats.read_karpathy(path).values()
        rows = [row for images in parts for image in images for row in image.rows]
        captions |= {row.cells["caption"] for row in rows}
    assert len(captions) > 1000
    captions = sorted(captions)
    differing = [
        (caption, words)
        for caption, words in zip(captions, by_java(captions), strict=True)
        if tokenize(caption) != words
    ]
    assert differing == []
