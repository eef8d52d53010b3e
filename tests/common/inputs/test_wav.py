"""All readers of WAV files, in NumPy and in the graph, give the same whatever a header says."""

import struct

import numpy as np
import pytest
import tensorflow as tf

from common.inputs import audio, sound_files, wav
from common.runs.errors import UserError

DRAW = np.random.default_rng(0)
MONO = DRAW.integers(-(2**15), 2**15, (701, 1)).astype("<i2")
STEREO = DRAW.integers(-(2**15), 2**15, (500, 2)).astype("<i2")
GUID = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
in_graph = tf.function(
    audio.decode_wav, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)


def form(channels: int = 1, bits: int = 16, kind: int = 1, *, rate: int = 16_000) -> bytes:
    block = channels * ((bits + 7) // 8)
    return struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits)


def extensible(channels: int, bits: int, kind: int = 1) -> bytes:
    more = struct.pack("<HHIH", 22, bits, 0, kind) + GUID
    return form(channels, bits, wav.EXTENSIBLE) + more


def chunk(name: bytes, content: bytes, size: int | None = None, pad: bytes = b"\0") -> bytes:
    declared = struct.pack("<I", len(content) if size is None else size)
    return name + declared + content + (pad if len(content) % 2 else b"")


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    content = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content) if size is None else size) + content


WHOLE = {  # sizes that are written, of the right ones
    "right": lambda right: right,
    "8 more": lambda right: right + 8,
    "44 more": lambda right: right + 44,
    "0": lambda right: 0,
    "sox": lambda right: 0x7FFFF000 + right % 2,
    "2^31 - 1": lambda right: 0x7FFFFFFF,
    "2^31": lambda right: 0x80000000,
    "2^32 - 1": lambda right: 0xFFFFFFFF,
}
FEWER = {"8 fewer": lambda right: right - 8, "44 fewer": lambda right: right - 44}
FORM, DATA = chunk(b"fmt ", form()), chunk(b"data", MONO.tobytes())
LIST = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0")  # odd, padded
BOTH = chunk(b"fmt ", form(2))
HEADERS = (
    {  # encoded, and the samples in it
        f"RIFF {whole}, data {data}": (
            riff(
                FORM,
                chunk(b"data", MONO.tobytes(), data_size(2 * len(MONO))),
                size=whole_size(2 * len(MONO) + 36),
            ),
            MONO,
        )
        for whole, whole_size in (WHOLE | FEWER).items()
        for data, data_size in WHOLE.items()
    }
    | {
        "LIST first": (riff(LIST, FORM, DATA), MONO),
        "LIST between": (riff(FORM, LIST, DATA), MONO),
        "LIST last": (riff(FORM, DATA, LIST), MONO),
        "odd LIST without its pad": (riff(FORM, LIST[:-1], DATA), MONO),
        "odd LIST with a pad that is not zero": (riff(FORM, LIST[:-1] + b" ", DATA), MONO),
        "LIST between, streamed": (
            riff(FORM, LIST, chunk(b"data", MONO.tobytes(), 0), size=0),
            MONO,
        ),
        "samples first": (riff(DATA, LIST, FORM), MONO),
        "samples first, size of all 0": (riff(DATA, FORM, size=0), MONO),
        "samples of a name": (riff(chunk(b"junk", DATA + FORM), FORM, DATA), MONO),
        "a chunk to align": (riff(chunk(b"JUNK", bytes(4052)), FORM, DATA), MONO),
        "a broadcast header": (riff(chunk(b"bext", bytes(602)), FORM, DATA), MONO),
        "fmt of 18 bytes": (riff(chunk(b"fmt ", form() + b"\0\0"), DATA), MONO),
        "a wrong rate of bytes": (
            riff(chunk(b"fmt ", form()[:8] + bytes(4) + form()[12:]), DATA),
            MONO,
        ),
        "no size of a frame": (
            riff(chunk(b"fmt ", form()[:12] + bytes(2) + form()[14:]), DATA),
            MONO,
        ),
        "extensible": (
            riff(chunk(b"fmt ", extensible(1, 16)), chunk(b"fact", bytes(4)), DATA),
            MONO,
        ),
        "stereo": (riff(BOTH, chunk(b"data", STEREO.tobytes())), STEREO),
        "extensible stereo": (
            riff(chunk(b"fmt ", extensible(2, 16)), LIST, chunk(b"data", STEREO.tobytes())),
            STEREO,
        ),
        "stereo, cut in a frame": (
            riff(BOTH, chunk(b"data", STEREO.tobytes()[:-1], 0, b"")),
            STEREO[:-1],
        ),
        "a second part": (riff(FORM, DATA, chunk(b"data", bytes(800))), MONO),
        "fewer samples": (riff(FORM, chunk(b"data", MONO.tobytes(), 1000)), MONO[:500]),
        "text after the end": (riff(FORM, DATA) + b"TAG a song", MONO),
        "text after the end, streamed": (riff(FORM, DATA, size=0xFFFFFFFF) + b"TAG a song", MONO),
        "12 bits": (riff(chunk(b"fmt ", form(bits=12)), DATA), MONO),
    }
)


@pytest.fixture
def runtime(standalone):
    """The Python file of an export to another runtime."""
    standalone("common/inputs/wav.py")  # it stands beside runtime.py in an export
    return standalone("apps/phoneme_tagging/runtime.py")


def read_by_all(encoded: bytes, runtime) -> list[np.ndarray]:
    return [
        sound_files.decode(encoded),
        runtime.read_wav(encoded),
        in_graph(tf.constant(encoded)).numpy(),
    ]


@pytest.mark.parametrize("header", HEADERS)
def test_all_readers_give_the_samples(header, runtime):
    encoded, samples = HEADERS[header]
    expected = (samples / 2.0**15).mean(axis=1).astype(np.float32)
    for heard in read_by_all(encoded, runtime):
        np.testing.assert_array_equal(heard, expected, strict=True)


@pytest.mark.parametrize("seed", range(30))
def test_chunks_stand_in_any_order(seed, runtime):
    draw = np.random.default_rng(seed)
    samples = draw.integers(-(2**15), 2**15, (int(draw.integers(400, 700)), seed % 3 + 1))
    described = (form, extensible)[seed % 2](seed % 3 + 1, 16)
    chunks = [chunk(b"fmt ", described), chunk(b"data", samples.astype("<i2").tobytes())]
    for name in (b"LIST", b"fact", b"cue ", b"data"[::-1], b"id3 "):
        chunks.append(chunk(name, draw.bytes(int(draw.integers(0, 60)))))
    chunks = [chunks[place] for place in draw.permutation(len(chunks))]
    encoded = riff(*chunks, size=[None, 0, 0xFFFFFFFF, 1000][seed % 4])
    expected = (samples / 2.0**15).mean(axis=1).astype(np.float32)
    for heard in read_by_all(encoded, runtime):
        np.testing.assert_array_equal(heard, expected)


def test_readers_agree_on_damaged_headers():
    """Whatever bytes a header has, both refuse it, or give the same samples."""
    draw, outcomes = np.random.default_rng(1), []
    for encoded, _ in list(HEADERS.values())[::2] * 6:
        damaged = bytearray(encoded)
        for place in draw.integers(0, 120, draw.integers(1, 4)):
            damaged[place] = draw.choice([0, 1, 2, 16, 255, int(draw.integers(256))])
        damaged = bytes(
            damaged[: draw.choice([len(damaged), int(draw.integers(200))], p=[0.9, 0.1])]
        )
        expected = None
        try:
            sound = wav.read(damaged)
            expected = sound.samples.mean(axis=1).astype(np.float32)
            is_taken = (sound.rate, sound.coding) == (16_000, "16-bit PCM")
        except ValueError:
            is_taken = False
        outcomes.append(is_taken)
        if is_taken:
            np.testing.assert_array_equal(in_graph(tf.constant(damaged)), expected)
        else:
            with pytest.raises(tf.errors.InvalidArgumentError, match="wav: expected"):
                in_graph(tf.constant(damaged))
    assert 0.2 < np.mean(outcomes) < 0.8


CODINGS = {
    "8 bits": (8, 1, lambda sound: np.round(sound * 127 + 128).astype("u1").tobytes(), 2e-2),
    "16 bits": (16, 1, lambda sound: (sound * 32767).astype("<i2").tobytes(), 1e-4),
    "20 bits in 24": (20, 1, lambda sound: as_24_bits(sound), 1e-6),
    "24 bits": (24, 1, lambda sound: as_24_bits(sound), 1e-6),
    "32 bits": (32, 1, lambda sound: (sound * (2**31 - 1)).astype("<i4").tobytes(), 1e-6),
    "float": (32, 3, lambda sound: sound.astype("<f4").tobytes(), 1e-6),
    "double": (64, 3, lambda sound: sound.astype("<f8").tobytes(), 0),
}


def as_24_bits(sound: np.ndarray) -> bytes:
    return (sound * (2**23 - 1)).astype("<i4").reshape(-1, 1).view("u1")[:, :3].tobytes()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("described", [form, extensible])
def test_every_coding_gives_the_samples(coding, channels, described):
    bits, kind, encode, close = CODINGS[coding]
    sound = np.random.default_rng(2).uniform(-1, 1, (601, channels))
    encoded = riff(
        LIST, chunk(b"fmt ", described(channels, bits, kind)), chunk(b"data", encode(sound))
    )
    read = wav.read(encoded)
    np.testing.assert_allclose(read.samples, sound, atol=close, rtol=0)
    assert (read.rate, read.coding.split()[1]) == (16_000, "float" if kind == 3 else "PCM")


REFUSED = {  # what the command line says, and what the graph says
    "nothing": (b"", "got 0 bytes", "got another kind"),
    "another RIFF": (b"RIFF\0\0\0\0AVI ", "expected a RIFF WAVE", "got another kind of RIFF"),
    "no chunk": (riff(), "without one.*cut short", "no chunk fmt"),
    "no samples": (riff(FORM, LIST), "chunk 'data'", "no chunk data"),
    "no form": (riff(DATA, LIST), "chunk 'fmt '", "no chunk fmt"),
    "a chunk to the end": (riff(chunk(b"LIST", b"", 2**31), FORM, DATA), "'fmt '", "no chunk fmt"),
    "cut": (riff(FORM, DATA)[:1000], "446 are missing: it is cut short", r"bytes missing.*446"),
    "no channel": (riff(chunk(b"fmt ", form(0)), DATA), "got 0 channels of", "got channels.*0"),
    "MULAW": (riff(chunk(b"fmt ", form(1, 8, 7)), DATA), "1 channels of 8-bit MULAW", "format.*7"),
    "64 bits": (riff(chunk(b"fmt ", form(1, 64)), DATA), "64-bit PCM", "got bits.*64"),
    "many chunks": (riff(chunk(b"note", b"") * 2000, FORM, DATA), "'fmt '", "no chunk fmt"),
    "too slow": (riff(chunk(b"fmt ", form(rate=999)), DATA), "got 999 Hz", "a second.*999"),
    "too short": (riff(FORM, chunk(b"data", bytes(100))), "got 3 ms", None),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_named(kind):
    encoded, message, in_the_graph = REFUSED[kind]
    with pytest.raises(UserError, match=message):
        sound_files.decode(encoded)
    if in_the_graph is not None:
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){in_the_graph}"):
            in_graph(tf.constant(encoded))
