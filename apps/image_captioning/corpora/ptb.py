"""Words of a caption as the COCO evaluation counts them: str -> words, without punctuation.

The tokens of the Penn Treebank, https://catalog.ldc.upenn.edu/docs/LDC95T7/cl93.html, in lower
case, as Stanford's tokenizer of 2014 writes them for Chen et al. 2015 (the COCO caption server),
https://arxiv.org/abs/1504.00325, without the punctuation that they leave out. Written from what
that program does with captions, not from its source: see tests/apps/image_captioning/test_ptb.py.
"""

import html
import itertools
import re
import unicodedata

_BRACKETS = str.maketrans(
    {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
)
_DIVIDED = {
    "cannot": ["can", "not"],
    "gimme": ["gim", "me"],
    "gonna": ["gon", "na"],
    "gotta": ["got", "ta"],
    "lemme": ["lem", "me"],
    "wanna": ["wan", "na"],
}
_SPELLED = str.maketrans(
    {"½": "1/2", "¼": "1/4", "¾": "3/4", "€": "$", "£": "#", "¢": "cents"}
    | {sign: "--" for sign in "\u2013\u2014\u2015"}
)
_ABBREVIATIONS = (
    r"adj adm adv al ala ariz asst assn aug ave bldg blvd brig bros calif capt cf cmdr co col"
    r" colo comdr conn corp cpl ct dec dept det dr ens esq est etc ext feb fla fri ft ga gen"
    r" gov hon inc ind insp intl jan jr jul jun kan ky lt ltd maj mar md messrs mfg mich minn"
    r" mlle mme mo mon mont mr mrs ms mt natl neb nov oct okla penn pfc ph\.d pres prof pvt rd"
    r" rep reps rev sat sen sens sep sept sgt sq sr st supt tel tenn thu thurs tue tues u\.k"
    r" u\.s univ va vs vt wed wis wyo"
).replace(" ", "|")

_TOKEN = re.compile(
    r"""
      LETTER+(?=\s)                                             # most words, quickly
    | https?://\S+?(?=[.,;:!?)"']*(?:\s|$))
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+
    | </?[a-z][^<>\s]*>
    | [:;=]'?-?(?:[()]|[dp](?!ALNUM))                           # faces
    | c(?:\+\+|\#)
    | (?-i:[A-Z]+(?:&[A-Z]+)+)                                  # AT&T
    | (?:LETTER\.)+(?!ALNUM)(?:-ALNUM+)*                        # initials
    | (?:ABBREVIATIONS | (?-i:Ark|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash))\.(?!ALNUM)
    | (?:nos?|pp)\.(?=\s*\d)
    | 't(?=(?:is|was)(?!ALNUM))                                 # 'tis
    | y'(?=all(?!ALNUM))
    | 'n' | (?:'(?:n|em|til|cause|\d\ds?) | ol')(?!ALNUM)       # rock 'n' roll, the '90s
    | (?:[dol]'LETTER{2,} | ma'am | c'mon | s'mores | ne'er)    # o'clock
    | (?:n't | '(?:s|m|d|re|ve|ll))(?!ALNUM)
    | ALNUM+?(?=n't(?!ALNUM))                                   # is n't
    | [+-]?(?:\.\d+|\d+(?:[.,]\d+)+)(?:-ALNUM+)*                # 1,000 and 3.5-inch
    | [+-]?\d+(?::\d+)+                                         # 3:30
    | [+-]\d+(?!ALNUM)
    | [#@]LETTER\w*
    | ALNUM+(?:[-\u2010/_]ALNUM+ | (?<=LETTER)[.!?]LETTER+)*    # words
    | [?!]{2,} | [#@*_]+                                        # kept by the COCO evaluation
    | [^\s.,:;?!'"`\u2018\u2019\u201c\u201d\u00ab\u00bb\u2039\u203a\u2026-]
    """.replace("ABBREVIATIONS", _ABBREVIATIONS)
    .replace("LETTER", r"[^\W\d_]")
    .replace("ALNUM", r"[^\W_]"),
    re.VERBOSE | re.IGNORECASE,
)


def tokenize(caption: str) -> list[str]:
    """Splits a caption into its words, lower-case.

    >>> tokenize('A man\\'s dog isn\\'t "here" -- it\\'s well-known.')
    ['a', 'man', "'s", 'dog', 'is', "n't", 'here', 'it', "'s", 'well-known']
    """
    text = unicodedata.normalize("NFC", html.unescape(caption))
    text = text.translate(_SPELLED).replace("\u2019", "'")
    text = "".join(sign for sign in text if sign < "\U00010000")  # Stanford's drops the others
    tokens = (match.group().lower() for match in _TOKEN.finditer(text))
    parts = (_DIVIDED.get(token, [token.translate(_BRACKETS)]) for token in tokens)
    return list(itertools.chain.from_iterable(parts))
