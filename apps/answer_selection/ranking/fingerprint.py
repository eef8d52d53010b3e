"""FarmHash's Fingerprint64: by it, words out of the vocabulary share the last vectors.

After farmhash.cc of https://github.com/google/farmhash (Copyright 2014 Google, MIT licence), whose
names it keeps; TensorFlow's `to_hash_bucket_fast` is this number modulo the number of buckets.
"""

import struct

_MASK = 2**64 - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def fingerprint64(text: bytes) -> int:
    """A number below 2**64, of at most 64 bytes."""
    size = len(text)
    mul = _K2 + 2 * size
    if size >= 33:
        return _hash_33_to_64(text, mul)
    if size >= 17:
        a, b = _fetch(text, 0) * _K1, _fetch(text, 8)
        c, d = _fetch(text, size - 8) * mul, _fetch(text, size - 16) * _K2
        first = _rotate(a + b, 43) + _rotate(c, 30) + d
        return _mix(first, a + _rotate(b + _K2, 18) + c, mul)
    if size >= 8:
        a, b = _fetch(text, 0) + _K2, _fetch(text, size - 8)
        return _mix(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)
    if size >= 4:
        first, last = struct.unpack("<I", text[:4])[0], struct.unpack("<I", text[-4:])[0]
        return _mix(size + (first << 3), last, mul)
    if size:
        y, z = text[0] + (text[size >> 1] << 8), size + (text[-1] << 2)
        return _shift_mix(y * _K2 ^ z * _K0) * _K2 & _MASK
    return _K2


def _fetch(text: bytes, place: int) -> int:
    return struct.unpack_from("<Q", text, place)[0]


def _rotate(value: int, shift: int) -> int:
    value &= _MASK
    return (value >> shift | value << (64 - shift)) & _MASK


def _shift_mix(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _mix(u: int, v: int, mul: int) -> int:
    a = _shift_mix(((u ^ v) & _MASK) * mul)
    return _shift_mix(((v ^ a) & _MASK) * mul) * mul & _MASK


def _hash_33_to_64(text: bytes, mul: int) -> int:
    size = len(text)
    a, b = _fetch(text, 0) * _K2, _fetch(text, 8)
    c, d = _fetch(text, size - 8) * mul, _fetch(text, size - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _mix(y, a + _rotate(b + _K2, 18) + c, mul)
    e, f = _fetch(text, 16) * mul, _fetch(text, 24)
    g, h = (y + _fetch(text, size - 32)) * mul, (z + _fetch(text, size - 24)) * mul
    return _mix(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, mul)
