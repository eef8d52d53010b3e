"""Sound files of all kinds become the same samples; broken ones say what is wrong."""

import io
import os
import struct
import threading

import numpy as np
import pytest
from scipy.io import wavfile

from common.inputs import sound_files
from common.runs.errors import UserError

TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def wav_24_bits(samples: np.ndarray) -> bytes:
    data = np.round(samples * (2**23 - 1)).astype("<i4")[:, None].view("u1")[:, :3].tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 48_000, 3, 24)
    return (
        b"RIFF"
        + struct.pack("<I", 36)
        + b"WAVE"
        + form
        + struct.pack("<4sI", b"data", len(data))
        + data
    )


def sphere(samples: np.ndarray, order: str = "01", *, channels: object = 1) -> bytes:
    header = (
        "NIST_1A\n   1024\n"
        f"channel_count -i {channels}\nsample_count -i {len(samples)}\nsample_rate -i 16000\n"
        f"sample_n_bytes -i 2\nsample_byte_format -s2 {order}\nsample_coding -s3 pcm\nend_head\n"
    )
    kind = "<i2" if order == "01" else ">i2"
    return header.encode().ljust(1024) + np.round(samples * 32767).astype(kind).tobytes()


KINDS = {
    "16 bits": wav(np.round(TONE * 32767).astype(np.int16)),
    "24 bits": wav_24_bits(TONE),
    "32 bits": wav(np.round(TONE * (2**31 - 1)).astype(np.int32)),
    "float": wav(TONE.astype(np.float32)),
    "double": wav(TONE),
    "SPHERE": sphere(TONE),
    "SPHERE, high byte first": sphere(TONE, "10"),
    "our own": sound_files.encode(TONE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_samples(kind):
    samples = sound_files.decode(KINDS[kind])
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, TONE, atol=1e-4)


def test_eight_bits_give_the_samples_roughly():
    samples = sound_files.decode(wav(np.round(TONE * 127 + 128).astype(np.uint8)))
    np.testing.assert_allclose(samples, TONE, atol=1e-2)


def test_channels_are_averaged():
    both = np.stack([TONE, -TONE / 2], axis=1).astype(np.float32)
    np.testing.assert_allclose(sound_files.decode(wav(both)), TONE / 4, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_other_sample_rates_are_resampled(rate):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    samples = sound_files.decode(wav(tone.astype(np.float32), rate))
    assert len(samples) == 16_000
    np.testing.assert_allclose(samples[500:-500], TONE[500:-500], atol=2e-3)


def test_a_stream_that_did_not_know_its_size_is_read_to_its_end():
    unknown = b"\xff" * 4
    whole = KINDS["16 bits"]
    streamed = whole[:4] + unknown + whole[8:40] + unknown + whole[44:]
    np.testing.assert_allclose(sound_files.decode(streamed), TONE, atol=1e-4)


BROKEN = {
    "empty": (b"", "got 0 bytes"),
    "text": (b"not a sound at all", "expected a RIFF WAVE or NIST SPHERE"),
    "no samples": (wav(np.zeros(0, np.int16)), "at least 25 ms"),
    "5 ms": (wav(np.zeros(80, np.int16)), "at least 25 ms of sound, got 5 ms"),
    "header cut": (KINDS["16 bits"][:30], "cut short"),
    "nothing after the header": (b"RIFF\x00\x00\x00\x00WAVEfmt ", "cut short"),
    "samples cut": (KINDS["16 bits"][:5000], "cut short"),
    "SPHERE cut": (KINDS["SPHERE"][:3000], "expected 16000 samples, got 988"),
    "SPHERE header": (b"NIST_1A\n   1024\nend_head\n".ljust(2000), "header, it is damaged"),
    "SPHERE without a channel": (sphere(TONE, channels=0), "header, it is damaged: .* 0 channels"),
    "SPHERE at 0 Hz": (sphere(TONE).replace(b"rate -i 16000", b"rate -i 00000"), "got 0 Hz"),
    "NaN": (wav(np.where(TONE > 0.499, np.nan, TONE).astype(np.float32)), "NaN"),
    "mu-law": (KINDS["16 bits"][:20] + b"\x07" + KINDS["16 bits"][21:], "MULAW"),
}


@pytest.mark.parametrize("value", ["0", "-1", "-8000", "1.5", "x", "", str(10**30)])
@pytest.mark.parametrize(
    "field", ["   1024", "channel_count -i 1", "sample_count -i 16000", "sample_rate -i 16000"]
)
def test_numbers_of_a_sphere_header_that_cannot_be_are_an_error(field, value):
    changed = field[: -len(field.split()[-1])] + value
    encoded = sphere(TONE).replace(field.encode(), changed.encode())
    with pytest.raises(UserError, match="expected"):
        sound_files.decode(encoded + bytes(99))  # the samples have moved


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_says_what_is_wrong(kind, tmp_path):
    encoded, message = BROKEN[kind]
    path = tmp_path / "speech.wav"
    path.write_bytes(encoded)
    with pytest.raises(UserError, match=message) as raised:
        sound_files.read(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_an_absent_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "speech.wav", tmp_path):
        with pytest.raises(UserError, match="found none at"):
            sound_files.read(path)


def test_a_named_pipe_is_read_as_a_file(tmp_path):
    os.mkfifo(tmp_path / "speech.wav")
    writer = threading.Thread(target=(tmp_path / "speech.wav").write_bytes, args=[KINDS["float"]])
    writer.start()
    np.testing.assert_allclose(sound_files.read(tmp_path / "speech.wav"), TONE, atol=1e-4)
    writer.join()
