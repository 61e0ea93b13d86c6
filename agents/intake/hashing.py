"""The two hashes a row of an order takes, for compiled loops: xxh3_64 of short texts and murmur2.

What `stream.events.reading.hash_of` and `stream.events.partition` say of the same bytes; a test holds them to that.
Source: the specification of XXH3 (Y. Collet, xxhash 0.8), lengths 1 to 240 with seed 0 and the default secret.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.demand.compiled import kernel

Bytes = npt.NDArray[np.uint8]

MOST_BYTES = 240  # longer texts are hashed by another rule of XXH3

_u = np.uint64
_SECRET = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e"
        "e03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d"
        "8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc"
        "8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
    np.uint8,
)
_P1, _P2, _P3 = _u(0x9E3779B185EBCA87), _u(0xC2B2AE3D27D4EB4F), _u(0x165667B19E3779F9)
_MIX, _RRMXMX, _LOW = _u(0x165667919E3779F9), _u(0x9FB21C651E98DF25), _u(0xFFFFFFFF)
_M, _SEED = np.uint32(0x5BD1E995), np.uint32(0x9747B28C)


@kernel
def _word(data: Bytes, at: int, size: int) -> Any:
    """A little-endian number of `size` bytes."""
    word = _u(0)
    for i in range(size):
        word |= _u(data[at + i]) << _u(8 * i)
    return word


@kernel
def _folded(a: Any, b: Any) -> Any:
    """Both halves of the 128-bit product of two 64-bit numbers, one over the other."""
    half = _u(32)
    low, cross = (a & _LOW) * (b & _LOW), (a >> half) * (b & _LOW)
    middle = (low >> half) + (cross & _LOW) + (a & _LOW) * (b >> half)
    high = (cross >> half) + (middle >> half) + (a >> half) * (b >> half)
    return high ^ (middle << half | low & _LOW)


@kernel
def _mixed(data: Bytes, at: int, secret: int) -> Any:
    """Sixteen bytes with sixteen of the secret."""
    return _folded(
        _word(data, at, 8) ^ _word(_SECRET, secret, 8), _word(data, at + 8, 8) ^ _word(_SECRET, secret + 8, 8)
    )


@kernel
def _avalanche(h: Any) -> Any:
    h = (h ^ h >> _u(37)) * _MIX
    return h ^ h >> _u(32)


@kernel
def _short(data: Bytes, n: int) -> Any:
    """Of 1 to 16 bytes."""
    if n > 8:
        low = _word(data, 0, 8) ^ _word(_SECRET, 24, 8) ^ _word(_SECRET, 32, 8)
        high = _word(data, n - 8, 8) ^ _word(_SECRET, 40, 8) ^ _word(_SECRET, 48, 8)
        turned = _u(0)
        for i in range(8):
            turned |= (low >> _u(8 * i) & _u(0xFF)) << _u(56 - 8 * i)
        return _avalanche(_u(n) + turned + high + _folded(low, high))
    if n > 3:
        h = _word(data, n - 4, 4) + (_word(data, 0, 4) << _u(32)) ^ _word(_SECRET, 8, 8) ^ _word(_SECRET, 16, 8)
        h ^= (h << _u(49) | h >> _u(15)) ^ (h << _u(24) | h >> _u(40))
        h *= _RRMXMX
        h = (h ^ (h >> _u(35)) + _u(n)) * _RRMXMX
        return h ^ h >> _u(28)
    h = _u(data[0]) << _u(16) | _u(data[n >> 1]) << _u(24) | _u(data[n - 1]) | _u(n) << _u(8)
    h ^= _word(_SECRET, 0, 4) ^ _word(_SECRET, 4, 4)
    h = (h ^ h >> _u(33)) * _P2
    h = (h ^ h >> _u(29)) * _P3
    return h ^ h >> _u(32)


@kernel
def xxh3(data: Bytes, n: int) -> Any:
    """xxh3_64 of the first `n` bytes, 1 to MOST_BYTES, as uint64."""
    if n <= 16:
        return _short(data, n)
    h = _u(n) * _P1
    if n <= 128:
        for i in range((n - 1) // 32 + 1):
            h += _mixed(data, 16 * i, 32 * i) + _mixed(data, n - 16 * (i + 1), 32 * i + 16)
        return _avalanche(h)
    for i in range(8):
        h += _mixed(data, 16 * i, 16 * i)
    h = _avalanche(h)
    for i in range(8, n // 16):
        h += _mixed(data, 16 * i, 16 * (i - 8) + 3)
    return _avalanche(h + _mixed(data, n - 16, 119))


@kernel
def murmur2(data: Bytes, at: int, n: int) -> Any:
    """Kafka's hash of the `n` bytes from `at` on, its sign bit taken off."""
    h = _SEED ^ np.uint32(n)
    body = n // 4 * 4
    for i in range(0, body, 4):
        k = np.uint32(np.uint32(_word(data, at + i, 4)) * _M)
        k = np.uint32((k ^ k >> np.uint32(24)) * _M)
        h = np.uint32(h * _M) ^ k
    if body < n:
        h = np.uint32((h ^ np.uint32(_word(data, at + body, n - body))) * _M)
    h = np.uint32((h ^ h >> np.uint32(13)) * _M)
    return np.int64((h ^ h >> np.uint32(15)) & np.uint32(0x7FFFFFFF))
