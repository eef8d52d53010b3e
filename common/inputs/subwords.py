"""Text to word pieces and back: strings (batch,) -> piece_ids int32 (batch, time), piece_mask bool.

Byte-pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909), learned in Python from
training text and applied by longest match in TensorFlow operations, the same in tf.data and in a
SavedModel. Any text can be written: what no longer piece matches is written byte by byte, so there
is no unknown piece.

A piece that begins with a space begins a word. `decode(encode(text))` is `normalise(text)`:
characters composed (NFC), runs of spaces and control characters one space, none at the ends.
"""

import heapq
import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import tensorflow as tf

from common.inputs import text, unicode
from common.inputs.text import Vocabulary

NUM_BYTES = 256
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(NUM_BYTES))
FIRST_BYTE = len(text.SPECIALS)  # the id of byte 0
_MIN_COUNT = 2  # rarer characters are written in bytes, and rarer pairs stay pairs
_SPECIAL = re.compile(r"<\w+>")  # none is learned: letters and marks are never in one piece


def learn(texts: Iterable[str], *, num_pieces: int, extra: Sequence[str] = ()) -> Vocabulary:
    """Learns pieces from training texts, normalised as `normalise` does.

    The most frequent pair of neighbours becomes a piece, again and again.

    Args:
        texts: of all languages together.
        num_pieces: size of the vocabulary, at most; it has 260 special tokens and bytes.
        extra: special tokens of the application, such as languages, in angle brackets.

    Returns:
        PAD, UNK, START, END, the bytes, `extra`, the characters, then pieces in the order in which
        they were learned.
    """
    chunks = Counter(chunk for line in texts for chunk in _chunks(line))
    characters: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for character in chunk:
            characters[character] += count
    known = sorted(character for character, count in characters.items() if count >= _MIN_COUNT)
    first = [*text.SPECIALS, *_BYTES, *extra, *known]
    learned = itertools.islice(_merges(chunks), max(num_pieces - len(first), 0))
    return Vocabulary(tuple(dict.fromkeys([*first, *learned])))


def _chunks(line: str) -> Iterator[str]:
    """Runs of letters, digits or marks, so that "light," is two; a word's first has its space."""
    for word in line.split():
        for number, (_, run) in enumerate(itertools.groupby(word, _kind)):
            yield "".join(run) if number else f" {''.join(run)}"


def _kind(character: str) -> str:
    kind = unicodedata.category(character)[0]
    return "L" if kind == "M" else kind if kind in "LN" else "other"


def _merges(chunks: Counter[str]) -> Iterator[str]:
    """Pieces in the order of byte-pair encoding; of equal pairs the first by alphabet."""
    words = [list(chunk) for chunk in chunks]
    counts = list(chunks.values())
    pairs: Counter[tuple[str, str]] = Counter()
    places = defaultdict(set)  # words that have, or had, a pair
    for number, word in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += counts[number]
            places[pair].add(number)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    while heap:
        count, pair = heapq.heappop(heap)
        if -count != pairs[pair]:  # it has changed since; the new count is in the heap too
            continue
        if -count < _MIN_COUNT:
            return
        piece = "".join(pair)
        yield piece
        changed = set()
        for number in places.pop(pair):
            word, merged = words[number], []
            for symbol in word:
                if merged and (merged[-1], symbol) == pair:
                    merged[-1] = piece
                else:
                    merged.append(symbol)
            for before, sign in ((word, -1), (merged, 1)):
                for neighbours in pairwise(before):
                    pairs[neighbours] += sign * counts[number]
                    changed.add(neighbours)
                    if sign > 0:
                        places[neighbours].add(number)
            words[number] = merged
        for neighbours in changed:
            if pairs[neighbours] > 0:
                heapq.heappush(heap, (-pairs[neighbours], neighbours))


def normalise(strings: tf.Tensor) -> tf.Tensor:
    """String, any shape -> the same shape; see the module. Bytes that are no UTF-8 are U+FFFD."""
    composed = unicode.compose(tf.strings.unicode_transcode(strings, "UTF-8", "UTF-8"))
    return tf.strings.strip(tf.strings.regex_replace(composed, r"[\pZ\p{Cc}\x{FEFF}]+", " "))


class Subwords(tf.Module):
    """Encodes and decodes with the pieces of a vocabulary, inside a graph.

    Args:
        pieces: from `learn`.
    """

    def __init__(self, pieces: Vocabulary):
        super().__init__()
        written = [_as_bytes(number, token) for number, token in enumerate(pieces.tokens)]
        edges, ids = _make_trie(written)
        self.edges, self.ids = tf.constant(edges), tf.constant(ids)
        self.written = tf.constant(written)
        self.longest = max(map(len, written))

    def encode(self, strings: tf.Tensor, *, max_pieces: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Strings (batch,) -> piece_ids int32 (batch, time), PAD at the end, and piece_mask bool.

        The longest piece that matches is taken, from the left. Longer texts are cut. Time is at
        least 1; an empty text is all padding.
        """
        texts = normalise(strings)
        texts = tf.where(texts == "", "", tf.strings.join([" ", texts]))
        lengths = tf.strings.length(texts)
        width = tf.maximum(tf.reduce_max(lengths), 1)
        codes = tf.cast(tf.io.decode_raw(texts, tf.uint8, fixed_length=width), tf.int32)
        # Longer than any cut text can be: what is beyond need not be matched.
        limit = tf.minimum(width, max_pieces * self.longest)
        ids, sizes = self._longest_matches(codes[:, :limit])
        return _follow(ids, sizes, tf.minimum(lengths, limit), max_pieces)

    def _longest_matches(self, codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Bytes (batch, width) -> the longest piece at each place: id and length in bytes."""
        padded = tf.pad(codes, [[0, 0], [0, self.longest]], constant_values=-1)
        width = tf.shape(codes)[1]

        def longer(depth, nodes, ids, sizes):
            key = nodes * NUM_BYTES + padded[:, depth : depth + width]
            key = tf.where((nodes >= 0) & (padded[:, depth : depth + width] >= 0), key, -1)
            places = tf.searchsorted(self.edges, tf.reshape(key, [-1]))
            places = tf.reshape(tf.minimum(places, len(self.edges) - 1), tf.shape(key))
            nodes = tf.where(tf.gather(self.edges, places) == key, places + 1, -1)
            matched = tf.gather(self.ids, tf.maximum(nodes, 0))
            is_piece = (nodes > 0) & (matched >= 0)
            ids, sizes = tf.where(is_piece, matched, ids), tf.where(is_piece, depth + 1, sizes)
            return depth + 1, nodes, ids, sizes

        free = tf.TensorShape([None, None])
        start = tf.zeros_like(codes)
        _, _, ids, sizes = tf.while_loop(
            lambda depth, nodes, *_: (depth < self.longest) & tf.reduce_any(nodes >= 0),
            longer,
            (0, start, start, tf.ones_like(codes)),
            shape_invariants=(tf.TensorShape([]), free, free, free),
        )
        return ids, sizes

    def decode(self, piece_ids: tf.Tensor) -> tf.Tensor:
        """Ids (..., time) -> strings (...), up to the end; special tokens give nothing."""
        joined = tf.strings.reduce_join(self.as_pieces(piece_ids), axis=-1)
        valid = tf.strings.unicode_transcode(joined, "UTF-8", "UTF-8", errors="ignore")
        return tf.strings.strip(valid)

    def as_pieces(self, piece_ids: tf.Tensor) -> tf.Tensor:
        """Ids (..., time) -> strings (..., time); bytes of a character may stand in several."""
        return tf.gather(self.written, piece_ids)


def framed(piece_ids: tf.Tensor, piece_mask: tf.Tensor, begin: tf.Tensor) -> tf.Tensor:
    """Pieces (batch, time) with `begin` (batch,) before them and END after the last real one."""
    padded = tf.pad(piece_ids, [[0, 0], [0, 1]])
    lengths = tf.reduce_sum(tf.cast(piece_mask, tf.int32), axis=1)
    ends = text.END * tf.one_hot(lengths, tf.shape(padded)[1], dtype=tf.int32)
    return tf.concat([begin[:, None], padded + ends], axis=1)


def _as_bytes(number: int, token: str) -> bytes:
    if FIRST_BYTE <= number < FIRST_BYTE + NUM_BYTES:
        return bytes([number - FIRST_BYTE])
    return b"" if number < FIRST_BYTE or _SPECIAL.fullmatch(token) else token.encode()


def _make_trie(pieces: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Edges (parent * 256 + byte), sorted; edge n leads to node n + 1. And the piece of each node.

    Nodes are numbered level by level, and the root is 0, so that the edges come out sorted.
    """
    ids = {piece: number for number, piece in enumerate(pieces) if piece}
    prefixes = {piece[:size] for piece in ids for size in range(1, len(piece) + 1)}
    ordered = sorted(prefixes, key=lambda prefix: (len(prefix), prefix))
    node = {b"": 0, **{prefix: number for number, prefix in enumerate(ordered, 1)}}
    edges = [node[prefix[:-1]] * NUM_BYTES + prefix[-1] for prefix in ordered]
    return np.array(edges, np.int32), np.array([-1, *(ids.get(p, -1) for p in ordered)], np.int32)


def _follow(ids, sizes, lengths, max_pieces: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The pieces at the places that are reached from the first, by the length of each piece."""
    batch = tf.shape(ids)[0]
    last = tf.shape(ids)[1] - 1

    def step(count, places, pieces, real):
        here = tf.minimum(places, last)
        going = places < lengths
        pieces = pieces.write(count, tf.where(going, tf.gather(ids, here, batch_dims=1), text.PAD))
        places += tf.where(going, tf.gather(sizes, here, batch_dims=1), 0)
        return count + 1, places, pieces, real.write(count, going)

    arrays = [
        tf.TensorArray(dtype, 0, dynamic_size=True, element_shape=[None])
        for dtype in (tf.int32, tf.bool)
    ]
    _, _, pieces, real = tf.while_loop(
        lambda count, places, *_: (
            (count == 0) | ((count < max_pieces) & tf.reduce_any(places < lengths))
        ),
        step,
        (0, tf.zeros([batch], tf.int32), *arrays),
    )
    return tf.transpose(pieces.stack()), tf.transpose(real.stack())
